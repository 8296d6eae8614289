/// Who is who, as far as approvals ask; pure.
package struct People: Sendable {
    package var teams: [String: TeamSpec]
    package init(teams: [String: TeamSpec]) { self.teams = teams }

    /// The person behind an actor: `user:ana` or the token called `ana`; nil for robots and for git's word.
    package static func name(of actor: String) -> String? {
        for scheme in ["user:", "token:"] where actor.hasPrefix(scheme) { return String(actor.dropFirst(scheme.count)) }
        return nil
    }

    package func isNamed(_ person: String, in from: [String]) -> Bool {
        from.isEmpty
            || from.contains { text in
                switch Approver(text) {
                case .user(let name): name == person
                case .team(let name): teams[name]?.members.contains { $0.user == person } ?? false
                case nil: false
                }
            }
    }

    /// Whether an identity, an actor's or one that git tells ("Ana <ana@example.com>"), may be the person.
    ///
    /// Git knows people by free text: better one author too many than one who approves their own work.
    package func isSame(_ person: String, _ identity: String) -> Bool {
        if let name = Self.name(of: identity) { return name == person }
        let text = (identity.hasPrefix("git:") ? String(identity.dropFirst(4)) : identity).lowercased()
        let name = text.prefix { $0 != "<" }.split(separator: " ").joined(separator: " ")
        if name == person || name.replacing(" ", with: "-") == person || name.replacing(" ", with: "_") == person {
            return true
        }
        guard let open = text.lastIndex(of: "<"), text.hasSuffix(">") else { return false }
        let email = text[text.index(after: open)...].dropLast()
        let emails = teams.values.flatMap(\.members).filter { $0.user == person }.flatMap(\.emails)
        return emails.contains { $0.lowercased() == email } || email.prefix { $0 != "@" } == person
    }
}
