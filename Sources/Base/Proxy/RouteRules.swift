import Series

/// A condition of a rule, ready to be asked.
struct CompiledCondition: Sendable {
    private enum Test {
        case exact([UInt8])
        case prefix([UInt8])
        case regex(LabelPattern)
        case present(Bool)
    }

    private let name: [UInt8]
    private let isCookie: Bool
    private let test: Test

    /// nil for a condition that makes no sense (`complaints`).
    init?(_ condition: TrafficCondition) {
        guard condition.complaints().isEmpty else { return nil }
        isCookie = condition.cookie != nil
        name = Array((condition.cookie ?? condition.header?.lowercased() ?? "").utf8)
        if let exact = condition.exact {
            test = .exact(Array(exact.utf8))
        } else if let prefix = condition.prefix {
            test = .prefix(Array(prefix.utf8))
        } else if let regex = condition.regex, let pattern = try? LabelPattern(regex) {  // was checked above
            test = .regex(pattern)
        } else {
            test = .present(condition.present ?? true)
        }
    }

    func holds(for head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Bool {
        if case .present(let wanted) = test { return wanted == isThere(head, bytes) }
        if isCookie { return head.cookie(name, bytes).map(passes) ?? false }
        return head.block.lines.contains { line in
            Bytes.equals(line.name.of(bytes), lowercased: name) && passes(line.value.of(bytes))
        }
    }

    private func isThere(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Bool {
        if isCookie { return head.cookie(name, bytes) != nil }
        return head.header(name, bytes) != nil
    }

    private func passes(_ value: UnsafeRawBufferPointer) -> Bool {
        switch test {
        case .exact(let wanted): value.elementsEqual(wanted)
        case .prefix(let wanted): value.count >= wanted.count && value.prefix(wanted.count).elementsEqual(wanted)
        case .regex(let pattern): value.withMemoryRebound(to: UInt8.self) { pattern.matches($0) }
        case .present(let wanted): wanted
        }
    }
}

/// A rule with the place of its revision in the route.
struct CompiledRule: Sendable {
    let conditions: [CompiledCondition]
    let revision: Int

    /// nil when a part of it makes no sense; such a rule matches nothing.
    init?(_ rule: TrafficRule, revisions: [CompiledRevision]) {
        let compiled = rule.when.compactMap(CompiledCondition.init)
        guard let index = revisions.firstIndex(where: { $0.name == rule.revision }), compiled.count == rule.when.count
        else { return nil }
        conditions = compiled
        revision = index
    }

    func matches(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Bool {
        conditions.allSatisfy { $0.holds(for: head, bytes) }
    }
}

extension RequestHead {
    /// Value of the first line of a name (in lower case).
    func header(_ name: [UInt8], _ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        block.lines.first { Bytes.equals($0.name.of(bytes), lowercased: name) }?.value.of(bytes)
    }

    /// Value of the first cookie of a name (RFC 6265 §5.4), without blanks around it.
    func cookie(_ name: [UInt8], _ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        for line in block.lines where line.name.count == 6 && Bytes.equals(line.name.of(bytes), "cookie") {
            for pair in line.value.of(bytes).split(separator: Ascii.semicolon) {
                let pair = UnsafeRawBufferPointer(rebasing: pair)
                guard let equals = pair.firstIndex(of: 0x3D) else { continue }
                guard Bytes.trimmed(pair[..<equals]).elementsEqual(name) else { continue }
                return Bytes.trimmed(pair[(equals + 1)...])
            }
        }
        return nil
    }
}

extension Bytes {
    /// Without the blanks at both ends.
    static func trimmed(_ bytes: Slice<UnsafeRawBufferPointer>) -> UnsafeRawBufferPointer {
        var (start, end) = (bytes.startIndex, bytes.endIndex)
        while start < end, isBlank(bytes[start]) { start += 1 }
        while end > start, isBlank(bytes[end - 1]) { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: bytes.base[start..<end])
    }
}
