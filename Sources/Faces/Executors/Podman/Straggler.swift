import Dispatch
import Foundation
import Glibc
import Kernel

/// What a command in a container has left running after its time.
enum Straggler {
    private static let queue = DispatchQueue(label: "vagus.executors.stragglers")

    /// Kills every process of this machine whose environment holds `mark`, a text that no other has.
    static func kill(carrying mark: String) async {
        let wanted = Array(mark.utf8)
        await withCheckedContinuation { listener in
            queue.async {
                // None to be seen: nothing to kill.
                let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []  // see above
                for pid in names.compactMap({ Int32($0) }) {
                    guard let environment = FileManager.default.contents(atPath: "/proc/\(pid)/environ"),
                        environment.split(separator: 0).contains(where: { $0.elementsEqual(wanted) })
                    else { continue }
                    _ = Glibc.kill(pid, SIGKILL)
                }
                listener.resume()
            }
        }
    }
}

extension ExecutionFailure {
    /// Somebody else has the port by now.
    var isTakenPort: Bool { message.contains("address already in use") || message.contains("already allocated") }
}
