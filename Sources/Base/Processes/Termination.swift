import CLinux
import Glibc

/// The end of a tree: asked first, then killed.
///
/// One way for children of ours and for adopted processes.
struct Termination: Sendable {
    let tree: ProcessTree

    /// How often it is looked whether the asked are gone, once their leader is.
    private static let firstPause: Duration = .milliseconds(5)
    private static let longestPause: Duration = .milliseconds(100)

    /// Returns when nothing of the tree runs any more, or what does cannot be killed.
    ///
    /// Not interrupted by cancellation.
    @discardableResult
    func run(grace: Duration) async -> BudgetFindings? {
        let machinery: Machinery
        do {
            machinery = try Machinery.shared()
        } catch {
            // No thread and no descriptor to be had: killing needs neither, and is what was asked for in the end.
            tree.kill()
            return nil
        }
        if grace > .zero { await ask(grace, machinery) }
        return await machinery.sweeper.run {
            tree.kill()
            defer { tree.cgroup?.remove() }
            return tree.cgroup?.findings()
        }
    }

    /// SIGTERM, then waits until all have gone or the grace is over.
    private func ask(_ grace: Duration, _ machinery: Machinery) async {
        let wake = Wake()
        let leader = clinux_pidfd_open(tree.identity.pid)
        defer { if leader >= 0 { close(leader) } }
        do {
            let deadline = try Alarm(machinery.events, rings: wake, as: .deadline)
            let pause = try Alarm(machinery.events, rings: wake, as: .pause)
            let watch = try leader >= 0 ? machinery.events.watch(leader) { wake.ring(.ended) } : nil
            defer { if let watch { machinery.events.forget(watch) } }
            deadline.set(grace)
            await machinery.sweeper.run { tree.signal(SIGTERM) }
            var length = Self.firstPause
            while await !machinery.sweeper.run({ tree.living().isEmpty }) {
                pause.set(length)
                length = min(length * 2, Self.longestPause)
                if await wake.next().contains(.deadline) { return }
            }
        } catch {
            // Out of descriptors: nothing to wait with, so no grace either.
            return
        }
    }
}
