import Dispatch
import Foundation
import Kernel

/// Files of one execution on a cluster, on a disk that the cluster's nodes see at the same path.
///
/// `start.sh` what the cluster runs · `output` what the command writes · `exit` its exit code, written last ·
/// `number` the cluster's own number of the job
struct BatchFolder: Sendable {
    let path: String
    var script: String { "\(path)/start.sh" }
    var output: String { "\(path)/output" }
    private var exit: String { "\(path)/exit" }
    private var number: String { "\(path)/number" }

    /// Most bytes read at once.
    private static let chunkBytes = 256 << 10
    private static let queue = DispatchQueue(label: "vagus.executors.batch", attributes: .concurrent)

    /// Makes the files of an order, unless they are there already; true when they were.
    func prepare(_ order: ExecutionOrder, grace: Duration) async throws -> Bool {
        try await blocking {
            if FileManager.default.fileExists(atPath: script) { return true }
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            try Data().write(to: URL(fileURLWithPath: output))
            try Data(BatchScript(order, folder: path, grace: grace).text.utf8)
                .write(to: URL(fileURLWithPath: script), options: .atomic)
            chmod(script, 0o700)
            return false
        }
    }

    /// The code that the command ended with, once it has.
    func exitCode() async throws -> Int? {
        try await blocking { Self.text(exit).flatMap(Int.init) }
    }

    /// The cluster's number of the job, if it was handed in.
    func submitted() async throws -> String? { try await blocking { Self.text(number) } }

    func remember(_ text: String) async throws {
        try await blocking { try Data(text.utf8).write(to: URL(fileURLWithPath: number), options: .atomic) }
    }

    /// The next bytes of the output; none when there are none so far.
    func read(from offset: Int64) async throws -> [UInt8] {
        try await blocking {
            let file = open(output, O_RDONLY | O_CLOEXEC)
            guard file >= 0 else { return [] }
            defer { close(file) }
            return [UInt8](unsafeUninitializedCapacity: Self.chunkBytes) { buffer, count in
                count = max(0, pread(file, buffer.baseAddress, buffer.count, Int(offset)))
            }
        }
    }

    static func remove(_ path: String) async {
        // Gone already, or removed with the next job of this name.
        try? await BatchFolder(path: path).blocking { try FileManager.default.removeItem(atPath: path) }  // see above
    }

    private static func text(_ path: String) -> String? {
        guard let data = FileManager.default.contents(atPath: path), !data.isEmpty else { return nil }
        return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private func blocking<T: Sendable>(_ body: @Sendable @escaping () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { listener in
            Self.queue.async { listener.resume(with: Result { try body() }) }
        }
    }
}

/// The script that a cluster runs: gives the command its surroundings, passes the wish to end on, and leaves nothing of
/// its tree behind.
struct BatchScript: Sendable {
    let text: String

    init(_ order: ExecutionOrder, folder: String, grace: Duration) {
        let mark = "\(ProcessExecutor.marker)=\(order.id)"
        let environment = order.environment.map { "\($0.key)=\($0.value)" }.sorted() + [mark]
        let command = (environment + order.command).map(Self.quoted).joined(separator: " ")
        let seconds = grace / .seconds(1)
        // Should we never come back, it does not run for ever.
        let limit = order.timeout.map { $0 / .seconds(1) + 60 }
        let watchdog = limit.map { "( sleep \($0); sweep KILL ) & watchdog=$!" } ?? "watchdog="
        text = """
            #!/bin/sh
            # Signals everything that carries the mark of this execution, wherever it has fled to.
            sweep() {
                for process in /proc/[0-9]*; do
                    if grep -qzxF \(Self.quoted(mark)) "$process/environ" 2>/dev/null; then
                        kill "-$1" "${process#/proc/}" 2>/dev/null
                    fi
                done
            }
            asked() {
                trap : TERM
                sweep TERM
                sleep \(seconds)
                sweep KILL
            }
            helper=
            trap '[ -n "$helper" ] || { asked & helper=$!; }' TERM
            \(watchdog)
            cd \(Self.quoted(order.directory)) || exit 126
            env -i \(command) </dev/null >>\(Self.quoted("\(folder)/output")) 2>&1 &
            child=$!
            while :; do
                wait "$child"
                code=$?
                kill -0 "$child" 2>/dev/null || break
            done
            sweep KILL
            for process in $helper $watchdog; do kill -9 "$process" 2>/dev/null; done
            echo "$code" >\(Self.quoted("\(folder)/exit.partial"))
            mv \(Self.quoted("\(folder)/exit.partial")) \(Self.quoted("\(folder)/exit"))
            exit "$code"

            """
    }

    /// A word of the shell that stands for itself.
    static func quoted(_ text: String) -> String { "'" + text.replacing("'", with: "'\\''") + "'" }
}
