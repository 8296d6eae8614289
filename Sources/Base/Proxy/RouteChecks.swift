import Series

extension RouteTable {
    /// What is wrong with the table, a lower-case clause each; empty when it is sound.
    ///
    /// A proxy takes an unsound table all the same and leaves out the parts that make no sense, so that one service's
    /// mistake never holds up the others; who writes tables asks first.
    package func complaints() -> [String] {
        routes.flatMap { route in route.complaints().map { "\(route.service): \($0)" } }
    }
}

extension Route {
    /// What is wrong with this route, a lower-case clause each.
    package func complaints() -> [String] {
        let names = Set(revisions.map(\.revision))
        var found = (rules ?? []).flatMap { rule in
            (names.contains(rule.revision) ? [] : ["rule \"\(rule.name)\" leads to no revision of the route"])
                + rule.when.flatMap { condition in condition.complaints().map { "rule \"\(rule.name)\": \($0)" } }
        }
        if revisions.contains(where: { $0.weight < 0 }) { found.append("a weight is negative") }
        if let sticky { found += sticky.complaints() }
        if let mirror {
            if !names.contains(mirror.revision) { found.append("the mirror leads to no revision of the route") }
            if !(0...100).contains(mirror.percent) { found.append("mirror.percent is not between 0 and 100") }
        }
        if let percent = retries?.budget_percent, !(0...100).contains(percent) {
            found.append("retries.budget_percent is not between 0 and 100")
        }
        for limit in rate_limits ?? [] {
            if !(limit.per_second > 0 && limit.per_second.isFinite) { found.append("a rate limit is not above 0") }
            let keys = [limit.by_client == true, limit.by_header != nil, limit.by_cookie != nil]
            if keys.count(where: { $0 }) > 1 { found.append("a rate limit has more than one key") }
        }
        return found
    }
}

extension TrafficCondition {
    func complaints() -> [String] {
        var found: [String] = []
        if (header == nil) == (cookie == nil) { found.append("a condition asks about one header or one cookie") }
        let tests = [exact != nil, prefix != nil, regex != nil, present != nil].count { $0 }
        if tests != 1 { found.append("a condition has one of exact, prefix, regex and present") }
        if let regex {
            do throws(PatternError) {
                _ = try LabelPattern(regex)
            } catch {
                found.append("regex \"\(regex)\": \(error)")
            }
        }
        return found
    }
}

extension StickySessions {
    func complaints() -> [String] {
        let keys = [cookie, by_header, by_cookie].compactMap { $0 }
        if keys.isEmpty { return ["sticky sessions need a cookie, by_header or by_cookie"] }
        let areTokens = keys.allSatisfy { name in !name.isEmpty && name.utf8.allSatisfy(Bytes.isToken) }
        return areTokens ? [] : ["the name of a sticky cookie or header is not a token"]
    }
}
