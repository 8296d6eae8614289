package import API

/// Who asks, on behalf of what, and what they may do. There is no way to write without one.
package struct Call: Sendable {
    /// "user:ana", "token:ci", "system:delivery", "run:run_01…", "git:Ana <ana@example.com>".
    package var actor: String
    /// Ties together everything one request or one run set off.
    package var correlation: String
    package var permission: Permission
    /// The only project that may be touched; nil: all.
    package var project: String?

    package init(actor: String, correlation: String, permission: Permission = .admin, project: String? = nil) {
        self.actor = actor
        self.correlation = correlation
        self.permission = permission
        self.project = project
    }

    /// A part of vagus itself, using the front door like anyone else.
    package static func system(_ name: String, correlation: String = "") -> Call {
        Call(actor: "system:\(name)", correlation: correlation)
    }

    package func allow(_ needed: Permission, operation: String) throws(Problem) {
        guard permission.allows(needed) else {
            throw Problem(
                "forbidden", status: 403, "\(operation) needs the permission \"\(needed.rawValue)\"",
                hint:
                    "This token has \"\(permission.rawValue)\". Make one with: vagus token create NAME --permission \(needed.rawValue)"
            )
        }
    }

    package func allow(project name: String) throws(Problem) {
        guard project == nil || project == name else {
            throw Problem(
                "forbidden", status: 403, "this token may not touch project \"\(name)\"",
                hint: "Use a token of that project.")
        }
    }
}
