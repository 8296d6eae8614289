import API
import Foundation
import Glibc
import Kernel
import Processes
import Synchronization

/// Who runs, written down before it runs on, so that the next life of the runner can end it.
///
/// One file of slots, each of `slotBytes`: an identity as JSON, or a zero where nobody is. It is never synced: it shall
/// outlive this process, and no process outlives the machine.
final class ProcessNotes: Sendable {
    private let path: String
    private let file: Int32
    private let slots = Mutex(Slots())

    private struct Slots {
        var free: [Int] = []
        var count = 0
        /// Slots of an earlier life, which stay as they are until all in them has been ended.
        var inherited = 0
    }

    private static let slotBytes = 1024

    init(folder: String) throws {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o750])
        path = "\(folder)/running"
        let opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o640)
        guard opened >= 0 else {
            throw Problem(
                "runner.folder", status: 500, "could not open \"\(path)\": \(String(cString: strerror(errno)))",
                hint: "Look whether the runner's folder is its own.")
        }
        file = opened
        var status = stat()
        let bytes = fstat(opened, &status) == 0 ? Int(status.st_size) : 0
        slots.withLock {
            $0.inherited = (bytes + Self.slotBytes - 1) / Self.slotBytes
            $0.count = $0.inherited
        }
    }

    deinit { close(file) }

    /// Gives the slot that ``forget(_:)`` empties.
    func remember(_ identity: ProcessIdentity) throws -> Int {
        let slot = slots.withLock { slots in
            if let free = slots.free.popLast() { return free }
            slots.count += 1
            return slots.count - 1
        }
        var bytes = Array(try JSONEncoder().encode(identity))
        guard bytes.count < Self.slotBytes else { throw Self.failure(path, ENAMETOOLONG) }
        bytes.append(0)
        guard pwrite(file, bytes, bytes.count, off_t(slot * Self.slotBytes)) == bytes.count else {
            let number = errno
            forget(slot)
            throw Self.failure(path, number)
        }
        return slot
    }

    func forget(_ slot: Int) {
        empty(slot)
        slots.withLock { $0.free.append(slot) }
    }

    /// Ends what an earlier life has left running.
    func endAll() async {
        let inherited = slots.withLock { slots in
            defer { slots.inherited = 0 }
            return slots.inherited
        }
        for slot in 0..<inherited {
            var bytes = [UInt8](repeating: 0, count: Self.slotBytes)
            let count = pread(file, &bytes, bytes.count, off_t(slot * Self.slotBytes))
            let text = Data(bytes.prefix(max(0, count)).prefix { $0 != 0 })
            let identity = try? JSONDecoder().decode(ProcessIdentity.self, from: text)  // torn: it never ran on
            if let identity { await Processes.terminate(identity, grace: .zero) }
            forget(slot)
        }
    }

    private func empty(_ slot: Int) {
        // Not written: then it names a process that is no more.
        _ = pwrite(file, [0], 1, off_t(slot * Self.slotBytes))
    }

    private static func failure(_ path: String, _ number: Int32) -> Problem {
        Problem(
            "runner.folder", status: 500, "could not write \"\(path)\": \(String(cString: strerror(number)))",
            hint: "Look whether the runner's disk is full.")
    }
}
