import API
import Foundation
import Glibc
import Kernel
import KernelTesting
import Processes
import Synchronization
import Testing

@testable import Delivery

@Suite(.timeLimit(.minutes(3))) struct ProcessPlatformTests {
    /// A folder of one test, gone with it; copies that still run in it are killed.
    private final class Place: Sendable {
        let path = NSTemporaryDirectory() + "vagus-platform-\(UUID().uuidString)"
        func platform(
            unpack: @escaping ProcessPlatform.Unpack = { _, _ in },
            get: @escaping ProcessPlatform.HTTPGet = { _, _ in nil }
        )
            -> ProcessPlatform
        { ProcessPlatform(folder: path, time: SystemTime(), unpack: unpack, httpGet: get) }

        func record(_ id: InstanceID) -> InstanceFolder.Record? { folder(id).read() }
        func folder(_ id: InstanceID) -> InstanceFolder { InstanceFolder(path: "\(path)/\(InstanceFolder.name(id))") }
        func text(_ id: InstanceID) -> String {
            FileManager.default.contents(atPath: folder(id).log).map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        deinit { try? FileManager.default.removeItem(atPath: path) }  // a leftover folder harms no other test
    }

    private func order(_ number: Int = 1, _ command: [String], artifact: String? = nil) -> InstanceOrder {
        InstanceOrder(
            id: InstanceID("default/web/1/\(number)"), service: Reference(project: "default", name: "web"), revision: 1,
            command: command, environment: ["COLOUR": "blue"], artifact: artifact)
    }

    /// Looks again until it is so, for at most half a minute.
    private func eventually(_ condition: () async throws -> Bool) async throws -> Bool {
        let time = SystemTime()
        let end = time.now.advanced(by: .seconds(30))
        while time.now < end {
            if try await condition() { return true }
            try await time.sleep(for: .milliseconds(20))
        }
        return false
    }

    @Test func `output that has grown long begins anew, and a cut that was not ended is ended`() throws {
        let place = Place()
        let folder = place.folder(InstanceID("default/web/1/1"))
        try folder.makeFolders()
        let text = { (name: String) in
            FileManager.default.contents(atPath: name).map { String(decoding: $0, as: UTF8.self) }
        }
        let write = { (text: String) in try Data(text.utf8).write(to: URL(filePath: folder.log)) }
        try write("first")
        folder.boundLog(limit: 5)
        #expect(text(folder.log) == "first" && text(folder.log + ".1") == nil)
        for part in ["first", "second"] {
            try write(part)
            folder.boundLog(limit: 4)
            #expect(text(folder.log) == "" && text(folder.log + ".1") == part)
        }
        // Died before the cut: the copy is of no use. Died after it: what was cut off is in there only.
        let partial = URL(filePath: folder.log + ".1.partial")
        try write("third")
        try Data("thi".utf8).write(to: partial)
        folder.settleLog()
        #expect(text(folder.log + ".1") == "second" && text(partial.path) == nil)
        try write("")
        try Data("third".utf8).write(to: partial)
        folder.settleLog()
        #expect(text(folder.log + ".1") == "third" && text(partial.path) == nil)
    }

    @Test func `a server is started, asked, adopted by another platform, and stopped`() async throws {
        let place = Place()
        let first = place.platform()
        // Python's own server: answers on the port it was given.
        let made = try await first.start(
            order(1, ["sh", "-c", "echo $COLOUR on $PORT; exec python3 -m http.server --bind 127.0.0.1 $PORT"]))
        #expect(made.isRunning)
        #expect(try await eventually { await first.probe(made, .port, timeout: .seconds(1)) })
        #expect(place.text(made.id).hasPrefix("blue on \(made.port)\n"))
        // Started twice is started once.
        #expect(try await first.start(order(1, ["false"])) == made)
        // Another server, later: it knows only the folder.
        let second = place.platform()
        #expect(try await second.instances() == [made])
        #expect(await second.probe(made, .port, timeout: .seconds(1)))
        let process = try #require(place.record(made.id)?.process)
        try await second.stop(made.id, grace: .seconds(5))
        #expect(!Processes.isAlive(process))
        #expect(try await second.instances().isEmpty)
        #expect(await !second.probe(made, .port, timeout: .seconds(1)))
        // Stopped twice is stopped once, and its id never starts again.
        try await second.stop(made.id, grace: .seconds(5))
        #expect(try await first.start(order(1, ["sleep", "100"])).isRunning == false)
        // The log is kept.
        #expect(place.text(made.id).hasPrefix("blue on"))
    }

    @Test func `a process whose identity was never written down is found by its environment`() async throws {
        let place = Place()
        let id = InstanceID("default/web/1/1")
        let made = try await place.platform().start(order(1, ["sleep", "1000"]))
        let process = try #require(place.record(id)?.process)
        // As if the server had died between the start and the note of it.
        var intent = try #require(place.record(id))
        intent.process = nil
        try place.folder(id).write(intent)
        let second = place.platform()
        #expect(try await second.start(order(1, ["sleep", "1000"])) == made)
        #expect(place.record(id)?.process == process)
        try place.folder(id).write(intent)
        #expect(try await second.instances() == [made])
        try place.folder(id).write(intent)
        try await second.stop(id, grace: .seconds(5))
        #expect(!Processes.isAlive(process))
    }

    @Test func `a copy of the same id of another server is left alone`() async throws {
        let (ours, theirs) = (Place(), Place())
        let id = InstanceID("default/web/1/1")
        let made = try await theirs.platform().start(order(1, ["sleep", "1000"]))
        var intent = try #require(theirs.record(id))
        (intent.process, intent.mark) = (nil, "ours")
        try ours.folder(id).makeFolders()
        try ours.folder(id).write(intent)
        #expect(try await ours.platform().instances().map(\.isRunning) == [false])
        try await ours.platform().stop(id, grace: .zero)
        #expect(try await theirs.platform().instances() == [made])
        try await theirs.platform().stop(id, grace: .zero)
    }

    @Test func `an intent without a process is carried out`() async throws {
        let place = Place()
        let id = InstanceID("default/web/1/1")
        try place.folder(id).makeFolders()
        try place.folder(id).write(
            InstanceFolder.Record(
                id: id.text, project: "default", service: "web", revision: 1, port: 1, mark: "unused", started_at: 5))
        let platform = place.platform()
        #expect(try await platform.instances().map(\.isRunning) == [false])
        let made = try await platform.start(order(1, ["sleep", "1000"]))
        #expect(made.isRunning)
        #expect(made.port > 1)
        try await platform.stop(id, grace: .zero)
    }

    @Test func `a copy that ended by itself is seen as ended`() async throws {
        let place = Place()
        let platform = place.platform()
        let made = try await platform.start(order(1, ["sh", "-c", "echo over; exit 3"]))
        #expect(try await eventually { try await platform.instances().map(\.isRunning) == [false] })
        #expect(place.text(made.id) == "over\n")
        #expect(try await platform.instances().map(\.ending) == ["with exit status 3"])
        try await platform.stop(made.id, grace: .zero)
        #expect(try await platform.instances().isEmpty)
    }

    @Test func `a copy that was killed is told with the signal`() async throws {
        let place = Place()
        let platform = place.platform()
        let made = try await platform.start(order(1, ["sh", "-c", "kill -KILL $$"]))
        #expect(try await eventually { try await platform.instances().map(\.isRunning) == [false] })
        #expect(try await platform.instances().map(\.ending) == ["by signal 9 (SIGKILL)"])
        try await platform.stop(made.id, grace: .zero)
    }

    @Test func `stopping asks first, and kills what does not listen, children and all`() async throws {
        let place = Place()
        let platform = place.platform()
        let made = try await platform.start(
            order(1, ["sh", "-c", "trap '' TERM; sleep 1000 & echo ready $!; wait; while :; do sleep 1; done"]))
        #expect(try await eventually { place.text(made.id).hasSuffix("\n") })
        let child = try #require(Int32(place.text(made.id).split(separator: " ").last?.filter(\.isNumber) ?? ""))
        try await platform.stop(made.id, grace: .milliseconds(200))
        let process = try #require(place.record(made.id)?.process)
        #expect(!Processes.isAlive(process))
        let state = FileManager.default.contents(atPath: "/proc/\(child)/stat").map {
            String(decoding: $0, as: UTF8.self)
        }
        #expect(state == nil || state?.contains(") Z ") == true)
    }

    @Test func `the working folder is the unpacked tree, and half a tree is never run`() async throws {
        let place = Place()
        struct Broken: Error {}
        let fails = Atomic<Bool>(true)
        let platform = place.platform(unpack: { digest, folder in
            try digest.write(toFile: "\(folder)/digest", atomically: true, encoding: .utf8)
            if fails.load(ordering: .sequentiallyConsistent) { throw Broken() }
        })
        let wanted = order(1, ["sh", "-c", "cat digest; exec sleep 1000"], artifact: "sha256:abc")
        await #expect(throws: Broken.self) { try await platform.start(wanted) }
        #expect(try await platform.instances().isEmpty)
        fails.store(false, ordering: .sequentiallyConsistent)
        let made = try await platform.start(wanted)
        #expect(try await eventually { place.text(made.id) == "sha256:abc" })
        try await platform.stop(made.id, grace: .seconds(5))
        #expect(!FileManager.default.fileExists(atPath: place.folder(made.id).work))
    }

    @Test func `a program that is not there says so`() async throws {
        let place = Place()
        let problem = await problem { _ = try await place.platform().start(order(1, ["no-such-program"])) }
        #expect(problem?.status == 422)
        #expect(problem?.hint?.isEmpty == false)
    }

    /// Answers each connection with the words of its second argument.
    private static let server = """
        import os, socket, sys
        door = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
        while True:
            guest = door.accept()[0]
            guest.recv(4096)
            guest.sendall(f"HTTP/1.1 {sys.argv[1]} X\\r\\n\\r\\n".encode())
            guest.close()
        """

    @Test(arguments: [(200, true), (204, true), (404, false), (503, false), (307, true)])
    func `a path is well when it answers with 2xx, there or where it points to`(code: Int, isWell: Bool) async throws {
        let place = Place()
        let asked = Mutex<[String]>([])
        let platform = place.platform(get: { url, _ in
            asked.withLock { $0.append(url) }
            return 200
        })
        let made = try await platform.start(order(1, ["python3", "-c", Self.server, String(code)]))
        #expect(try await eventually { await platform.probe(made, .port, timeout: .seconds(1)) })
        #expect(await platform.probe(made, .path("healthz"), timeout: .seconds(20)) == isWell)
        let complaint = await platform.complaint(made, .path("healthz"), timeout: .seconds(20))
        #expect(complaint == (isWell ? nil : "/healthz answered \(code)"))
        let address = "http://127.0.0.1:\(made.port)/healthz"
        #expect(asked.withLock { $0 } == (code == 307 ? [address, address] : []))
        try await platform.stop(made.id, grace: .zero)
        #expect(await !platform.probe(made, .path("/healthz"), timeout: .seconds(20)))
        let wrong = await platform.complaint(made, .path("/healthz"), timeout: .seconds(20))
        #expect(wrong == "nothing listens on its port \(made.port)")
    }

    @Test func `it tells when there is something to look at, of copies of an earlier life too`() async throws {
        let place = Place()
        let first = place.platform()
        #expect(first.changes == nil, "nobody has looked yet")
        let made = try await first.start(order(1, ["sleep", "1000"]))
        let platforms = [first, place.platform()]
        for platform in platforms {
            #expect(try await platform.instances() == [made])
            let seen = try #require(platform.changes)
            #expect(try await platform.instances() == [made])
            #expect(platform.changes == seen, "nothing has happened")
        }
        let seen = platforms.map(\.changes)
        let process = try #require(place.record(made.id)?.process)
        kill(process.pid, SIGKILL)
        #expect(try await eventually { zip(platforms, seen).allSatisfy { $0.changes != $1 } })
        for platform in platforms { #expect(try await platform.instances().map(\.isRunning) == [false]) }
    }

    @Test func `a log that grew too long begins anew, and the program writes on`() async throws {
        let place = Place()
        let platform = place.platform()
        let made = try await platform.start(
            order(1, ["sh", "-c", "while [ ! -e go ]; do sleep 0.02; done; echo after; exec sleep 1000"]))
        let log = place.folder(made.id).log
        #expect(truncate(log, Int(InstanceFolder.logLimit) + 1) == 0)
        _ = try await platform.instances()
        #expect(place.text(made.id).isEmpty)
        #expect(FileManager.default.fileExists(atPath: log + ".1"))
        #expect(FileManager.default.createFile(atPath: "\(place.folder(made.id).work)/go", contents: nil))
        #expect(try await eventually { place.text(made.id) == "after\n" })
        try await platform.stop(made.id, grace: .seconds(5))
    }

    @Test func `copies get ports of their own`() async throws {
        let place = Place()
        let platform = place.platform()
        var ports = Set<Int>()
        for number in 1...5 { ports.insert(try await platform.start(order(number, ["sleep", "1000"])).port) }
        #expect(ports.count == 5)
        for instance in try await platform.instances() { try await platform.stop(instance.id, grace: .seconds(5)) }
        #expect(try await platform.instances().isEmpty)
    }
}
