import Manifests

// What the functions of the language do with their arguments.
extension Evaluator {
    /// Arguments are evaluated when the function comes to need them.
    func call(_ function: Function, _ nodes: [Node], _ node: Node) throws -> Outcome {
        switch function {
        case .case: return try choose(nodes, node)
        case .fromJSON:
            made += 1
            return .value(try fromJSON(try value(nodes[0]).text, node), Origin(root: "#\(made)"))
        case .contains: return .value(.bool(try contains(nodes, node)), nil)
        case .startsWith, .endsWith:
            let (text, part) = (try value(nodes[0]), try value(nodes[1]))
            guard text.isPrimitive, part.isPrimitive else { return .value(.bool(false), nil) }
            try read(text, node)
            try read(part, node)
            return .value(
                .bool(function == .startsWith ? Function.startsWith(text, part) : Function.endsWith(text, part)), nil)
        case .format: return .value(try format(nodes, node), nil)
        case .join: return .value(try join(nodes, node), nil)
        case .toJSON: return .value(try text(try value(nodes[0]).prettyJSON(at: node.position), node), nil)
        case .hashFiles:
            guard let hashFiles = context.hashFiles else {
                throw ExpressionError(
                    .wrongArguments, "hashFiles() has no files to read here", at: node.position,
                    hint: "It belongs into a step, or into the key of a cache.")
            }
            return .value(.string(try hashFiles(try nodes.map { try value($0).text })), nil)
        case .success, .failure, .always, .cancelled: return .value(.bool(try status(function, node)), nil)
        }
    }

    /// `case(condition, value, …, otherwise)`.
    private func choose(_ nodes: [Node], _ node: Node) throws -> Outcome {
        for index in stride(from: 0, to: nodes.count - 1, by: 2) {
            guard case .bool(let holds) = try value(nodes[index]) else {
                throw ExpressionError(
                    .invalidValue, "a condition of case() is neither true nor false", at: nodes[index].position,
                    hint: "Compare it with something, or write !! before it.")
            }
            if holds { return try outcome(nodes[index + 1]) }
        }
        return try outcome(nodes[nodes.count - 1])
    }

    private func contains(_ nodes: [Node], _ node: Node) throws -> Bool {
        let haystack = try outcome(nodes[0])
        let items: [Item]
        switch haystack {
        case .filtered(let filtered): items = filtered
        case .value(.object, _): return false
        case .value(let value, let origin):
            guard value.isPrimitive else {
                items = Self.items(of: value, origin)
                break
            }
            let needle = try self.value(nodes[1])
            guard needle.isPrimitive else { return false }
            try read(value, node)
            try read(needle, node)
            return Function.contains(value, needle)
        }
        guard !items.isEmpty else { return false }
        let needle = try outcome(nodes[1])
        try step(items.count, node)
        return items.contains { item in
            Self.isEqual(needle.value, needle.origin, item.value, item.value.isPrimitive ? nil : item.origin)
        }
    }

    private func format(_ nodes: [Node], _ node: Node) throws -> Value {
        let pattern = try value(nodes[0])
        try read(pattern, node)
        var known: [Int: String] = [:]
        return try text(
            try Function.format(pattern.text, count: nodes.count - 1, at: node.position) { index in
                if let text = known[index] { return text }
                let text = try value(nodes[index + 1]).text
                known[index] = text
                return text
            }, node)
    }

    private func join(_ nodes: [Node], _ node: Node) throws -> Value {
        let items = try value(nodes[0])
        guard case .array(let all) = items else { return items.isPrimitive ? .string(items.text) : .string("") }
        try step(all.count, node)
        var separator = ","
        if all.count > 1, nodes.count > 1 {
            let given = try value(nodes[1])
            if given.isPrimitive { separator = given.text }
        }
        return try text(try Function.join(all, separator: separator, at: node.position), node)
    }

    /// Text that a function walks through costs steps too.
    private func read(_ value: Value, _ node: Node) throws {
        if case .string(let text) = value { try step(text.utf8.count / 64, node) }
    }

    private func status(_ function: Function, _ node: Node) throws -> Bool {
        if function == .always { return true }
        guard let status = context.status else {
            throw ExpressionError(
                .wrongArguments, "\(function.rawValue)() has no run to ask here", at: node.position,
                hint: "It belongs into an if: of a pipeline.")
        }
        return switch function {
        case .success: status.isSuccess
        case .failure: status.isFailure
        default: status.isCancelled
        }
    }

    private func fromJSON(_ json: String, _ node: Node) throws -> Value {
        try step(json.utf8.count / 16, node)
        do throws(ManifestError) { return Value(try JSONParser.parse(json)) } catch {
            throw ExpressionError(.invalidValue, "fromJSON() was given no JSON: \(error.message)", at: node.position)
        }
    }
}
