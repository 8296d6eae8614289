import Foundation
import Kernel

extension ExecutorCheck {
    // MARK: Life

    static let life: [ExecutorCheck] = [
        ExecutorCheck(name: "the exit code is told") { trial in
            for code in [0, 1, 3, 77, 255] {
                let (result, _) = try await trial.run(trial.order(.exit(code), id: "\(trial.id)-\(code)"))
                try trial.expect(result.ending == .exited(code), "exit \(code) was told as \(result)")
                try trial.expect(result.isSuccess == (code == 0), "\(code) counted as success: \(result.isSuccess)")
            }
        },
        ExecutorCheck(name: "a command that was killed did not succeed") { trial in
            let (result, _) = try await trial.run(.die)
            try trial.expect([.signalled(9), .exited(137)].contains(result.ending), "told as \(result)")
        },
        ExecutorCheck(name: "a program that is not there is told, not waited for") { trial in
            do throws(ExecutionFailure) {
                let result = try await trial.subject.executor.run(trial.order(.absent)) { _ in }
                let isTold = [.exited(126), .exited(127)].contains(result.ending)
                if !isTold { throw ExecutionFailure(.unavailable, "told as \(result)") }
            } catch {
                try trial.expect(error.code == .invalid, "\(error)")
            }
        },
        ExecutorCheck(name: "the timeout ends the whole tree") { trial in
            let pipes = try trial.pipes()
            var order = trial.order(.hold(pipes.map(\.path), isDeaf: false))
            order.timeout = trial.subject.startup + .seconds(1)
            let (result, output) = try await trial.run(order)
            try trial.expect(String(decoding: output, as: UTF8.self) == "begun\n", "it had not begun")
            try trial.expect(result.ending == .timedOut, "told as \(result)")
            try trial.expect(try await trial.areFree(pipes), "a process has outlived its execution")
        },
        ExecutorCheck(name: "cancelling ends the whole tree") { trial in
            let pipes = try trial.pipes()
            let order = trial.order(.hold(pipes.map(\.path), isDeaf: false))
            let (failure, _) = try await trial.cancel(order) { $0.text == "begun\n" && pipes.allSatisfy(\.isHeld) }
            try trial.expect(failure?.code == .cancelled, "told as \(String(describing: failure))")
            try trial.expect(try await trial.areFree(pipes), "a process has outlived its execution")
        },
        ExecutorCheck(name: "the command is asked before it is killed") { trial in
            var order = trial.order(.farewell("bye"))
            order.grace = .seconds(30)
            let (failure, _) = try await trial.cancel(order) { $0.text == "begun\n" }
            try trial.expect(failure?.code == .cancelled, "told as \(String(describing: failure))")
            try trial.expect(trial.exists("bye"), "it was not asked")
        },
        ExecutorCheck(name: "a command that will not listen is killed after the grace") { trial in
            let pipes = try trial.pipes()
            var order = trial.order(.hold(pipes.map(\.path), isDeaf: true))
            order.grace = .milliseconds(300)
            let (failure, _) = try await trial.cancel(order) { $0.text == "begun\n" && pipes.allSatisfy(\.isHeld) }
            try trial.expect(failure?.code == .cancelled, "told as \(String(describing: failure))")
            try trial.expect(try await trial.areFree(pipes), "it lives on")
        },
        ExecutorCheck(name: "output that is not wanted ends the execution") { trial in
            struct Unwanted: Error {}
            let pipes = try trial.pipes()
            do throws(ExecutionFailure) {
                _ = try await trial.subject.executor.run(trial.order(.hold(pipes.map(\.path), isDeaf: false))) { _ in
                    throw Unwanted()
                }
                throw ExecutionFailure(.unavailable, "it was not ended")
            } catch {
                try trial.expect(error.code == .cancelled, "told as \(error)")
            }
            try trial.expect(try await trial.areFree(pipes), "it lives on")
        },
        ExecutorCheck(name: "what a lost parent has left is ended too", needs: .endsDaemons) { trial in
            let pipes = try trial.pipes(3)
            let order = trial.order(.hold(pipes.map(\.path), isDeaf: false))
            let (failure, _) = try await trial.cancel(order) { $0.text == "begun\n" && pipes.allSatisfy(\.isHeld) }
            try trial.expect(failure?.code == .cancelled, "told as \(String(describing: failure))")
            try trial.expect(try await trial.areFree(pipes), "the daemon lives on")
        },
    ]

    // MARK: Surroundings

    static let surroundings: [ExecutorCheck] = [
        ExecutorCheck(name: "variables arrive as they were given") { trial in
            let values = ["two words", "it's \"quoted\" $HOME `x` \\n", "line\nbreak\n", "grüße ☀", ""]
            for (index, value) in values.enumerated() {
                let order = trial.order(.variable("GIVEN"), id: "\(trial.id)-\(index)", environment: ["GIVEN": value])
                let (_, bytes) = try await trial.run(order)
                try trial.expect(bytes == Array(value.utf8), "\(value.debugDescription) arrived as \(bytes)")
            }
        },
        ExecutorCheck(name: "no variable of ours is seen") { trial in
            setenv("VAGUS_TEST_CANARY", "secret", 1)
            let (result, bytes) = try await trial.run(trial.order(.environment, environment: ["COLOUR": "blue"]))
            try trial.expect(result.isSuccess, "\(result)")
            let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
            try trial.expect(lines.contains("COLOUR=blue"), "what was given is missing")
            let known = Set(trial.subject.environment.keys).union(trial.subject.added)
                .union(["COLOUR", "PWD", "OLDPWD", "SHLVL", "_", "VAGUS_EXECUTION_ID"])
            let strange = lines.map { String($0.prefix { $0 != "=" }) }.filter { !known.contains($0) }
            try trial.expect(strange.isEmpty, "it also sees \(strange)")
        },
        ExecutorCheck(name: "it works in its folder, which is ours at the same path") { trial in
            let (result, output) = try await trial.run(.directory)
            try trial.expect(result.isSuccess, "\(result): \(output)")
            try trial.expect(output == trial.folder + "\n", "it was in \(output)")
            try trial.expect(trial.exists("here"), "its file is not here")
        },
        ExecutorCheck(name: "standard input is empty") { trial in
            let (result, output) = try await trial.run(.readInput)
            try trial.expect(result.isSuccess && output == "end\n", "\(result): \(output)")
        },
    ]

    // MARK: Output

    static let output: [ExecutorCheck] = [
        ExecutorCheck(name: "every byte arrives, whatever it is") { trial in
            for (index, bytes) in [[UInt8](), Array(0...255), [0xFF, 0xFE, 0, 10, 10, 0xC3], Array("no end".utf8)]
                .enumerated()
            {
                let (_, heard) = try await trial.run(trial.order(.say(bytes), id: "\(trial.id)-\(index)"))
                try trial.expect(heard == bytes, "\(bytes.count) bytes arrived as \(heard.count): \(heard.prefix(300))")
            }
        },
        ExecutorCheck(name: "10 MB arrive in order") { trial in
            let last = 1_450_000
            let (result, heard) = try await trial.run(trial.order(.count(last)))
            try trial.expect(result.isSuccess, "\(result)")
            try trial.expect(heard.count > 10_000_000, "only \(heard.count) bytes")
            try trial.expect(isSequence(heard, to: last), "lines are missing or out of order")
        },
        ExecutorCheck(name: "who listens slowly hears all the same") { trial in
            let last = 500_000
            let heard = Heard()
            let result = try await trial.subject.executor.run(trial.order(.count(last))) { bytes in
                heard.add(bytes)
                try await SystemTime().sleep(for: .milliseconds(2))
            }
            try trial.expect(result.isSuccess, "\(result)")
            try trial.expect(isSequence(heard.bytes, to: last), "lines are missing or out of order")
        },
        ExecutorCheck(name: "a line may be long") { trial in
            let length = 3_000_000
            let (result, heard) = try await trial.run(trial.order(.longLine(length)))
            try trial.expect(result.isSuccess, "\(result)")
            try trial.expect(
                heard.count == length && heard.allSatisfy { $0 == UInt8(ascii: "x") }, "\(heard.count) bytes")
        },
        ExecutorCheck(name: "both streams arrive, each in order") { trial in
            let (_, output) = try await trial.run(.bothStreams)
            let lines = output.split(separator: "\n")
            for stream in ["out", "err"] {
                try trial.expect(
                    lines.filter { $0.hasPrefix(stream) } == (1...9).map { "\(stream) \($0)" }, "heard \(lines)")
            }
        },
        ExecutorCheck(name: "executions do not hear each other") { trial in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 1...6 {
                    let order = trial.order(.say(Array("number \(number)\n".utf8)), id: "\(trial.id)-\(number)")
                    group.addTask {
                        let (_, bytes) = try await trial.run(order)
                        try trial.expect(bytes == Array("number \(number)\n".utf8), "\(number) heard \(bytes)")
                    }
                }
                try await group.waitForAll()
            }
        },
    ]

    /// Whether the bytes are 1, 2, 3, … `last`, a line each.
    private static func isSequence(_ bytes: [UInt8], to last: Int) -> Bool {
        var expected = 1
        var value = 0
        for byte in bytes {
            if byte == 0x0A {
                guard value == expected else { return false }
                (expected, value) = (expected + 1, 0)
            } else {
                value = value * 10 + Int(byte) - 0x30
            }
        }
        return expected == last + 1 && value == 0
    }

    // MARK: Repetition

    static let repetition: [ExecutorCheck] = [
        ExecutorCheck(name: "the same id twice is one execution") { trial in
            try await sameExecution(trial, second: trial.subject.executor)
        },
        ExecutorCheck(name: "the next life finds the execution again", needs: .survives) { trial in
            guard let next = trial.subject.next else { throw ConformanceFailure(description: "there is no next life") }
            try await sameExecution(trial, second: next)
        },
    ]

    private static func sameExecution(_ trial: ExecutorTrial, second: any Executor) async throws {
        let order = trial.order(.once(file: "starts", gate: "gate"))
        let (first, heard) = (trial.subject.executor, Heard())
        try await withThrowingTaskGroup(of: ExecutionResult.self) { group in
            group.addTask { try await first.run(order) { heard.add($0) } }
            try await trial.wait(for: "the first to begin") { heard.text.hasPrefix("begun\n") }
            group.addTask { try await second.run(order) { _ in } }
            // A second start would have time to leave its mark before the first ends.
            try await SystemTime().sleep(for: .milliseconds(300))
            try Data().write(to: URL(fileURLWithPath: trial.path("gate")))
            for try await result in group {
                try trial.expect(result.ending == .exited(4), "told as \(result)")
            }
        }
        try trial.expect(trial.text("starts") == "x\n", "it started \(trial.text("starts").count / 2) times")
        try trial.expect(heard.text == "begun\nended\n", "the first heard \(heard.text)")
    }

    // MARK: Bounds

    static let bounds: [ExecutorCheck] = [
        ExecutorCheck(name: "more memory than allowed is told as that", needs: .boundsMemory) { trial in
            var order = trial.order(.devour)
            order.memory = 64 << 20
            let (result, _) = try await trial.run(order)
            try trial.expect(!result.isSuccess, "it went unpunished")
            try trial.expect(result.detail?.contains("64Mi of memory") ?? false, "told as \(result)")
        },
        ExecutorCheck(name: "a command that forks without end is held", needs: .boundsProcesses) { trial in
            let (result, bytes) = try await trial.run(trial.order(.fork(trial.subject.processes * 3)))
            try trial.expect(!result.isSuccess, "it started all: \(String(decoding: bytes.suffix(200), as: UTF8.self))")
        },
        ExecutorCheck(name: "without network there is none", needs: .cutsNetwork) { trial in
            var order = trial.order(.interfaces)
            order.network = false
            let (result, bytes) = try await trial.run(order)
            let names = String(decoding: bytes, as: UTF8.self).split(separator: "\n").filter { $0 != "lo" }
            try trial.expect(result.isSuccess, "\(result)")
            try trial.expect(names.isEmpty, "it sees \(names)")
        },
    ]
}

extension ExecutorTrial {
    /// Whether nobody holds the pipes, given a moment: a program that somebody else in this process is just starting has
    /// our descriptors until it is executed.
    func areFree(_ pipes: [Watched]) async throws -> Bool {
        for _ in 0..<50 {
            if !pipes.contains(where: \.isHeld) { return true }
            try await SystemTime().sleep(for: .milliseconds(20))
        }
        return false
    }

    func pipes(_ count: Int = 2) throws -> [Watched] {
        try (0..<count).map { try Watched(path("pipe\($0)")) }
    }
}
