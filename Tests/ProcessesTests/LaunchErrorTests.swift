import Foundation
import Glibc
import Processes
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(2))) struct LaunchErrorTests {
    @Test func `a program that is not there is not found, and the reason is told`() async throws {
        let missing = await failure { $0.executable = "/no/such/program" }
        #expect(missing?.code == .notFound)
        #expect(missing?.message == "there is no file \"/no/such/program\"")
        let unknown = await failure { $0.executable = "no-such-program" }
        #expect(unknown?.code == .notFound)
        #expect(unknown?.hint.contains("/usr/bin") == true)
        let lost = await failure {
            $0.executable = "sh"
            $0.environment = [:]
        }
        #expect(lost?.code == .notFound)
        #expect(lost?.message.contains("no PATH") == true)
    }

    @Test func `a script's missing interpreter is told apart from a missing script`() async throws {
        let folder = try Folder()
        let script = try folder.write("#!/no/such/interpreter\n", to: "script", mode: 0o755)
        let error = await failure { $0.executable = script }
        #expect(error?.code == .notFound)
        #expect(error?.message.contains("interpreter") == true)
    }

    @Test func `what cannot be executed is refused with the reason`() async throws {
        let folder = try Folder()
        let plain = try folder.write("echo hello\n", to: "plain", mode: 0o644)
        let headless = try folder.write("echo hello\n", to: "headless", mode: 0o755)
        for path in [plain, headless, folder.path] {
            let error = await failure { $0.executable = path }
            #expect(error?.code == .notExecutable, "\(path): \(String(describing: error))")
        }
        let inPath = await failure {
            $0.executable = "plain"
            $0.environment = ["PATH": folder.path]
        }
        #expect(inPath?.code == .notExecutable)
    }

    @Test func `a program is found in the given PATH and below the directory`() async throws {
        let folder = try Folder()
        _ = try folder.write("#!/bin/sh\necho found $1 in $PWD\n", to: "tool", mode: 0o755)
        for executable in ["tool", "./tool", "\(folder.path)/tool"] {
            let heard = Listener()
            let command = Command(
                executable: executable, arguments: ["it"], environment: ["PATH": "/no/such:\(folder.path)"],
                directory: folder.path)
            _ = try await Processes.run(command, output: heard.take)
            #expect(heard.output == "found it in \(folder.path)\n")
        }
        // A folder of PATH that is relative is one below the directory, not below ours.
        let heard = Listener()
        let relative = Command(
            executable: "tool", arguments: ["it"], environment: ["PATH": "no/such:."], directory: folder.path)
        _ = try await Processes.run(relative, output: heard.take)
        #expect(heard.output == "found it in \(folder.path)\n")
    }

    @Test func `a directory that is not there is named`() async throws {
        let error = await failure { $0.directory = "/no/such/folder" }
        #expect(error?.code == .noSuchDirectory)
        #expect(error?.message.contains("/no/such/folder") == true)
        let file = await failure { $0.directory = "/etc/passwd" }
        #expect(file?.code == .noSuchDirectory)
    }

    @Test func `too many arguments are refused as a limit, and a limit above the hard one is the hard one`()
        async throws
    {
        let long = await failure {
            $0.arguments = [String](repeating: String(repeating: "x", count: 100_000), count: 200)
        }
        #expect(long?.code == .limit)
        var command = Shell.command("ulimit -Hn")
        command.limits.openFiles = UInt64.max - 1
        var hard = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &hard)
        let said = Mutex("")
        _ = try await Processes.run(command) { chunk in
            said.withLock { $0 += String(decoding: chunk.bytes, as: UTF8.self) }
        }
        #expect(said.withLock { $0 } == "\(hard.rlim_max)\n")
    }

    @Test func `what the system would misread is refused before it starts`() async throws {
        let zero = await failure { $0.arguments = ["a\0b"] }
        #expect(zero?.code == .invalid)
        let name = await failure { $0.environment["A=B"] = "c" }
        #expect(name?.code == .invalid)
        let marker = await failure { $0.marker = "UNSET" }
        #expect(marker?.code == .invalid)
        let empty = await failure { $0.executable = "" }
        #expect(empty?.code == .invalid)
        await #expect(throws: ProcessError.self) { try await Processes.start(Shell.command("true")) }
    }

    @Test func `a failed start leaves no descriptor open`() async throws {
        // Once before counting, so that threads and tables are there.
        _ = await failure { $0.executable = "/no/such/program" }
        _ = await failure { $0.directory = "/no/such/folder" }
        let before = try pipesOpen()
        for _ in 0..<40 { _ = await failure { $0.directory = "/no/such/folder" } }
        // Other suites run at the same time and hold some for a while; what is lost stays open for good.
        var left = try pipesOpen().subtracting(before)
        let end = ContinuousClock.now.advanced(by: .seconds(30))
        while left.count >= 20, ContinuousClock.now < end {
            try await Task.sleep(for: .milliseconds(50))  // the others' pipes close by themselves; nobody tells when
            left.formIntersection(try pipesOpen())
        }
        #expect(left.count < 20)
    }

    /// Starts a command that is wrong in one way and gives the error.
    private func failure(_ change: (inout Command) -> Void) async -> ProcessError? {
        var command = Command(executable: "/bin/true", environment: Shell.environment, directory: "/")
        change(&command)
        do {
            _ = try await Processes.run(command) { _ in }
            return nil
        } catch {
            return error as? ProcessError
        }
    }

    /// The pipes that this process holds, by their numbers in the kernel.
    private func pipesOpen() throws -> Set<String> {
        let folder = "/proc/self/fd"
        var pipes: Set<String> = []
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
            let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\(name)")  // closed meanwhile: nil
            if let target, target.hasPrefix("pipe:") { pipes.insert(target) }
        }
        return pipes
    }
}
