import API
import Testing

@testable import Kernel

@Suite struct MountTests {
    @Test(arguments: [
        ("/loki", true), ("/loki/api/v1/push", true), ("/lokit", false), ("/lok", false), ("/", false),
    ])
    func `a mount holds what lies below its path, and nothing beside it`(path: String, isHeld: Bool) {
        let mount = Mount("/loki", bodyLimit: 1) { _, _ in
            ForeignAnswer(500, text: "")
        } handle: { _, _ in
            ForeignAnswer(text: "")
        }
        #expect(mount.holds(path) == isHeld)
    }

    @Test(arguments: [
        ("a+b", "a b"), ("a%2Bb", "a+b"), ("%E2%82%AC", "€"), ("100%", "100%"), ("%zz", "%zz"), ("", ""),
    ])
    func `forms are read as browsers write them`(text: String, wanted: String) {
        #expect(FormText.decode(text) == wanted)
    }

    @Test func `pairs of a form keep their order, and repeats`() {
        let pairs = FormText.pairs("match[]=a&match[]=b%3Dc&x")
        #expect(pairs.map { "\($0.name)=\($0.value)" } == ["match[]=a", "match[]=b=c", "x="])
    }

    @Test(arguments: [
        (Permission.read, false), (.run, false), (.write, true), (.admin, true), (.agent, true),
    ])
    func `measurements are brought by writers and agents`(permission: Permission, may: Bool) {
        let call = Call(actor: "token:t", correlation: "", permission: permission)
        #expect(((try? call.allowTelling("a test")) != nil) == may)
        #expect((try? call.allowLooking("a test")) != nil)
    }

    @Test func `a token of one project neither brings nor sees what belongs to the house`() {
        let call = Call(actor: "token:t", correlation: "", permission: .admin, project: "shop")
        #expect(throws: Problem.self) { try call.allowTelling("a test") }
        #expect(throws: Problem.self) { try call.allowLooking("a test") }
    }

    @Test func `instruments count by name and labels, and durations by bucket`() {
        let instruments = Instruments()
        instruments.count("a_total", ["x", "1"])
        instruments.count("a_total", ["x", "1"], by: 2)
        instruments.count("a_total", ["x", "2"])
        instruments.observe("d_seconds", seconds: 0.003)
        instruments.observe("d_seconds", seconds: 100)
        let all = instruments.all()
        #expect(all.map(\.key.name) == ["a_total", "a_total", "d_seconds"])
        guard case .counter(3) = all[0].value, case .durations(let counts, let sum) = all[2].value else {
            Issue.record("\(all)")
            return
        }
        #expect(counts.reduce(0, +) == 2)
        #expect(counts.last == 1)
        #expect(sum == 100.003)
    }

    @Test func `more series than allowed are left out`() {
        let instruments = Instruments()
        for number in 0..<(Instruments.nameLimit + 10) { instruments.count("a_total", ["n", String(number)]) }
        #expect(instruments.all().count == Instruments.nameLimit)
        // Another name has room still, until all of them together have too many.
        for number in 0..<2 * Instruments.seriesLimit {
            instruments.set("b_\(number % 20)", ["n", String(number)], to: 1)
        }
        #expect(instruments.all().count == Instruments.seriesLimit)
        #expect(instruments.all().contains { $0.key.name == "b_0" })
    }
}
