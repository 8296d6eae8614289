import CLinux

/// How many files this process may have open.
package enum OpenFiles {
    /// As many as its hard limit allows; programs that it starts have as many as it was given itself.
    ///
    /// Each connection, each copy of a service and each store has some, and the soft limit is often 1,024. Called once, before
    /// anything is started. A system that refuses leaves it as it was.
    package static func raise() { _ = clinux_raise_open_files() }
}
