import Foundation
import Kernel
import Processes

/// Shuts a command in with bubblewrap: it sees a read-only system, its workspace, and little else.
///
/// A process namespace of its own, no capabilities and no way to gain any, a private /tmp and home, no network unless
/// the order says so. Everything dies with the runner.
///
/// Where we are root, the command becomes another user inside: root without capabilities still owns root's files, and
/// may write much of /proc/sys.
package struct Sandbox: Sendable {
    /// Path of `bwrap`.
    package var program: String
    /// Folders beyond the system's that commands may read, such as that of a toolchain.
    package var readable: [String]
    /// Path of `setpriv`, by which the command becomes another user; nil where there is none.
    let setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].first(where: FileManager.default.isExecutableFile)

    package init(program: String, readable: [String] = []) {
        (self.program, self.readable) = (program, readable)
    }

    /// What of the system is shown, read-only, as far as it is there.
    private static let system = ["/usr", "/etc", "/opt"]
    /// Links into /usr on current systems, folders on older ones.
    private static let links = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"]
    /// What root's own files in there would tell.
    private static let secretFiles = ["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-"]
    private static let secretFolders = ["/etc/ssl/private", "/etc/ssh", "/etc/sudoers.d"]
    /// Where names are looked up on systems whose /etc/resolv.conf is a link.
    private static let resolver = "/run/systemd/resolve"

    /// What of /proc would tell or take more than a command should, whatever its user.
    private static let kernelPlaces = [
        "/proc/sys", "/proc/sysrq-trigger", "/proc/mtrr", "/proc/acpi", "/proc/scsi", "/proc/pressure",
    ]
    private static let temporary = ["/tmp", "/var/tmp", "/dev/shm"]

    /// Arguments of bwrap up to the command, which runs as a user if one is given.
    func arguments(for order: ExecutionOrder, as user: ProcessUser? = nil) -> [String] {
        var all = [
            "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
            "--unshare-cgroup-try", "--cap-drop", "ALL",
        ]
        // Until it becomes the user: to do so, and to enter a folder that is the user's alone. They go with root.
        if user != nil { all += Self.becomingCapabilities.flatMap { ["--cap-add", $0] } }
        if !order.network { all.append("--unshare-net") }
        for folder in Self.system { all += ["--ro-bind-try", folder, folder] }
        for link in Self.links { all += Self.link(link) }
        all += ["--proc", "/proc", "--dev", "/dev"]
        for place in Self.kernelPlaces { all += ["--ro-bind-try", place, place] }
        var home = order.environment["HOME"].flatMap { $0.hasPrefix("/") && $0 != "/" ? $0 : nil }
        if let path = home, isShown(path, order) { home = nil }
        all += ["--tmpfs", "/run"]
        all += Self.ways(to: Self.temporary)
        for folder in Self.temporary { all += ["--perms", "1777", "--tmpfs", folder] }
        all += Self.ways(to: readable + [home].compactMap { $0 } + order.writable)
        for folder in readable { all += ["--ro-bind-try", folder, folder] }
        if order.network { all += ["--ro-bind-try", Self.resolver, Self.resolver] }
        for file in Self.secretFiles where Self.kind(of: file) == .typeRegular {
            all += ["--ro-bind", "/dev/null", file]
        }
        for folder in Self.secretFolders where Self.kind(of: folder) == .typeDirectory { all += ["--tmpfs", folder] }
        if let home { all += ["--perms", "1777", "--tmpfs", home] }
        for folder in order.writable { all += ["--bind", folder, folder] }
        return all + ["--chdir", order.directory, "--"] + becoming(user)
    }

    private static let becomingCapabilities = ["CAP_SETUID", "CAP_SETGID", "CAP_DAC_READ_SEARCH"]

    /// The folders above some, open for passing through: bubblewrap would make them for root alone.
    private static func ways(to paths: [String]) -> [String] {
        var ways: [String] = []
        for path in paths {
            let parts = path.split(separator: "/")
            for count in 1..<max(1, parts.count) {
                let way = "/" + parts.prefix(count).joined(separator: "/")
                let isShown = (system + links + ["/proc", "/dev"]).contains { way == $0 || way.hasPrefix($0 + "/") }
                if !isShown, !temporary.contains(way), way != "/run", !ways.contains(way) { ways.append(way) }
            }
        }
        return ways.flatMap { ["--perms", "0755", "--dir", $0] }
    }

    private func becoming(_ user: ProcessUser?) -> [String] {
        guard let user, let setpriv else { return [] }
        let groups =
            user.groups.isEmpty ? "--clear-groups" : "--groups=\(user.groups.map(String.init).joined(separator: ","))"
        return [setpriv, "--reuid=\(user.id)", "--regid=\(user.group)", groups, "--inh-caps=-all", "--"]
    }

    private func isShown(_ path: String, _ order: ExecutionOrder) -> Bool {
        (Self.system + Self.links + readable + order.writable + ["/tmp", "/var/tmp", "/run", "/proc", "/dev"])
            .contains { path == $0 || path.hasPrefix($0 + "/") }
    }

    private static func link(_ path: String) -> [String] {
        // Not a link: then a folder, or nothing.
        if let target = try? FileManager.default.destinationOfSymbolicLink(atPath: path) {  // see above
            return ["--symlink", target, path]
        }
        return ["--ro-bind-try", path, path]
    }

    private static func kind(of path: String) -> FileAttributeType? {
        let facts = try? FileManager.default.attributesOfItem(atPath: path)  // not there: nothing to hide
        return facts?[.type] as? FileAttributeType
    }
}
