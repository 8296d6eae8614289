import API
import ArgumentParser
import Foundation
import Manifests
import Testing

@testable import CLI

@Suite struct CLITests {
    @Test func `what is made from the code is committed as it is`() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        for (path, text) in Generated.files() {
            let committed = try String(contentsOf: root.appending(path: "docs/\(path)"), encoding: .utf8)
            #expect(committed == text, "docs/\(path) is stale: run make generate")
        }
    }

    @Test(
        arguments: [
            (0, 2, "a", "step 1 of 2: a"), (2, 2, "all traffic", "after step 2 of 2: all traffic"),
            (0, 0, "all traffic", "without steps: all traffic"), (nil, 2, nil, nil),
        ] as [(Int?, Int, String?, String?)])
    func `a rollout is told by its steps, also when it has none or all are done`(
        step: Int?, steps: Int, name: String?, words: String?
    ) {
        var status = ServiceStatus()
        (status.step, status.steps, status.step_name) = (step, steps, name)
        #expect(ServiceText.step(status) == words)
    }

    @Test func `every command's help shows an example`() {
        func check(_ command: any ParsableCommand.Type, _ path: String) {
            let configuration = command.configuration
            let all = configuration.subcommands + configuration.groupedSubcommands.flatMap(\.subcommands)
            if all.isEmpty && configuration.shouldDisplay {
                let text = configuration.discussion
                #expect(
                    text.contains("vagus \(path)") || path.hasSuffix("list"), "vagus \(path) --help shows no example")
            }
            for one in all { check(one, path.isEmpty ? name(one) : "\(path) \(name(one))") }
        }
        func name(_ command: any ParsableCommand.Type) -> String {
            command.configuration.commandName ?? "\(command)".lowercased()
        }
        check(Vagus.self, "")
    }

    @Test(arguments: [
        ("127.0.0.1:8420", "127.0.0.1", 8420, true), ("localhost:0", "localhost", 0, true),
        ("[::1]:80", "::1", 80, true),
        ("0.0.0.0:80", "0.0.0.0", 80, false), (":9000", "0.0.0.0", 9000, false),
    ])
    func `addresses read as people write them`(text: String, host: String, port: Int, isLoopback: Bool) throws {
        let address = try #require(Address(argument: text))
        #expect(address.host == host)
        #expect(address.port == port)
        #expect(address.isLoopback == isLoopback)
    }

    @Test(arguments: ["8420", "host:", "host:70000", "host:x"])
    func `what is no address is refused`(text: String) { #expect(Address(argument: text) == nil) }

    @Test func `explain walks lists and maps and hints at slips`() throws {
        #expect(try Explanation.text(ServiceKind.self, path: ["rollout", "steps", "pause"]).contains("for"))
        let problem = #expect(throws: Problem.self) { try Explanation.text(ServiceKind.self, path: ["rolout"]) }
        #expect(problem?.hint == "Did you mean \"rollout\"?")
    }

    @Test func `a problem reads as error and hint`() {
        let text = Ending.text(
            Problem("x", status: 404, "no service \"web\"", hint: "List them.", location: "a.yaml:3:1"))
        #expect(text == "error: a.yaml:3:1: no service \"web\"\nhint: List them.\n")
    }

    @Test func `columns line up whatever their cells hold`() {
        var table = Table(["A", "LONG"])
        table.rows = [["xxxx", "1"], ["\u{1B}[32my\u{1B}[0m", "2"]]
        let lines = table.text.split(separator: "\n")
        #expect(lines[1] == "xxxx  1")
        #expect(lines[2] == "\u{1B}[32my\u{1B}[0m     2")
    }
}
