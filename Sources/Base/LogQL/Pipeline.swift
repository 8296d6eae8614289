internal import LogStore
internal import Series

/// Runs the stages of a query over lines, one after the other.
struct Pipeline {
    private let stages: [PipelineStage]
    private var streams: [Int: [(name: String, value: String)]] = [:]
    private(set) var state = LineState()

    init(_ stages: [PipelineStage]) { self.stages = stages }

    /// Whether labels of a line can differ from its stream's for another reason than its metadata.
    var changesLabels: Bool {
        stages.contains { stage in
            switch stage {
            case .line, .label(.text), .lineFormat, .decolorize: false
            default: true
            }
        }
    }

    /// Runs all stages over a line.
    ///
    /// - Returns: What the body made of the line's last text; nil when a filter dropped it.
    mutating func run<Result>(
        _ line: LogLine, _ body: (inout LineState, UnsafeBufferPointer<UInt8>) throws -> Result
    ) rethrows -> Result? {
        let base = streams[line.streamID] ?? line.stream.pairs
        if streams[line.streamID] == nil { streams[line.streamID] = base }
        state.begin(base, time: line.time, metadata: line.metadata)
        for stage in stages where !apply(stage, line.line) { return nil }
        if let changed = state.changedLine {
            return try changed.withUnsafeBufferPointer { try body(&state, $0) }
        }
        return try body(&state, line.line)
    }

    private mutating func apply(_ stage: PipelineStage, _ original: UnsafeBufferPointer<UInt8>) -> Bool {
        guard let changed = state.changedLine else { return stage.apply(&state, original) }
        return changed.withUnsafeBufferPointer { stage.apply(&state, $0) }
    }
}

extension PipelineStage {
    /// Does one stage; false drops the line.
    func apply(_ state: inout LineState, _ line: UnsafeBufferPointer<UInt8>) -> Bool {
        switch self {
        case .line(let filter): return filter.keeps(line)
        case .label(let filter): return filter.keeps(&state)
        case .json(let extractions): Self.json(extractions, &state, line)
        case .logfmt(let options): Self.logfmt(options, &state, line)
        case .unpack: Self.unpack(&state, line)
        case .pattern(let template):
            for (name, range) in template.captures(line) {
                state.extract(name, String(decoding: UnsafeBufferPointer(rebasing: line[range]), as: UTF8.self))
            }
        case .regexp(let pattern):
            guard let captured = pattern.captures(String(decoding: line, as: UTF8.self)) else { return true }
            for (name, value) in zip(pattern.groupNames, captured) {
                if let name, let value { state.extract(name, value) }
            }
        case .lineFormat(let template): state.changedLine = Array(template.render(state, line).utf8)
        case .labelFormat(let assignments): Self.format(assignments, &state, line)
        case .keep(let choices):
            for pair in state.pairs
            where !pair.name.hasPrefix("__error") && !choices.contains(where: { $0.meets(pair) }) {
                state.remove(pair.name)
            }
        case .drop(let choices):
            for pair in state.pairs where choices.contains(where: { $0.meets(pair) }) { state.remove(pair.name) }
        case .decolorize: state.changedLine = Self.decolorized(line)
        }
        return true
    }

    private static func json(_ extractions: [Extraction], _ state: inout LineState, _ line: UnsafeBufferPointer<UInt8>)
    {
        var found: [(String, String)] = []
        do {
            try JSONWalker.walk(line, showsNested: !extractions.isEmpty) { path, leaf in
                let text: String
                switch leaf {
                case .text(let value), .plain(let value): text = value
                case .nested(let value):
                    if extractions.isEmpty { return }
                    text = value
                case .null: text = ""
                }
                if extractions.isEmpty {
                    // Lists have no names: what is in them is only there for those who ask by place.
                    let names = path.compactMap { if case .field(let name) = $0 { name } else { nil } }
                    if names.count == path.count { found.append((labelName(names.joined(separator: "_")), text)) }
                } else {
                    for wanted in extractions where wanted.path == path { found.append((wanted.label, text)) }
                }
            }
        } catch let fault as JSONWalker.Fault {
            state.fail(.json, fault.message)
            return
        } catch { return }
        for (name, value) in found { state.extract(name, value) }
    }

    private static func logfmt(_ options: LogfmtOptions, _ state: inout LineState, _ line: UnsafeBufferPointer<UInt8>) {
        var reader = LogfmtReader(line)
        while let item = reader.next() {
            switch item {
            case .fault(let message):
                if options.isStrict {
                    state.fail(.logfmt, message)
                    return
                }
            case .pair(let key, let value):
                if options.extractions.isEmpty {
                    if value.isEmpty && !options.keepsEmpty { continue }
                    state.extract(labelName(key), value)
                } else {
                    for wanted in options.extractions where wanted.path == [.field(key)] {
                        state.extract(wanted.label, value)
                    }
                }
            }
        }
    }

    private static func unpack(_ state: inout LineState, _ line: UnsafeBufferPointer<UInt8>) {
        var (entry, found): (String?, [(String, String)]) = (nil, [])
        do {
            try JSONWalker.walk(line, showsNested: false) { path, leaf in
                guard path.count == 1, case .field(let name) = path[0], case .text(let value) = leaf else { return }
                if name == "_entry" { entry = value } else { found.append((labelName(name), value)) }
            }
        } catch let fault as JSONWalker.Fault {
            state.fail(.json, fault.message)
            return
        } catch { return }
        for (name, value) in found { state.extract(name, value) }
        if let entry { state.changedLine = Array(entry.utf8) }
    }

    private static func format(
        _ assignments: [LabelAssignment], _ state: inout LineState, _ line: UnsafeBufferPointer<UInt8>
    ) {
        for assignment in assignments {
            switch assignment.source {
            case .label(let old):
                guard let value = state[old] else { continue }
                state.remove(old)
                state.set(assignment.name, value)
            case .template(let template): state.set(assignment.name, template.render(state, line))
            }
        }
    }

    /// Without the colours of terminals: `ESC [ numbers letter`.
    private static func decolorized(_ line: UnsafeBufferPointer<UInt8>) -> [UInt8] {
        var (result, position): ([UInt8], Int) = ([], 0)
        while position < line.count {
            if line[position] == 0x1B, position + 1 < line.count, line[position + 1] == UInt8(ascii: "[") {
                position += 2
                while position < line.count, !(0x40...0x7E).contains(line[position]) { position += 1 }
                position += 1
            } else {
                result.append(line[position])
                position += 1
            }
        }
        return result
    }
}

extension LabelChoice {
    func meets(_ pair: (name: String, value: String)) -> Bool { name == pair.name && (test?.holds(pair.value) ?? true) }
}

extension LineSource {
    /// What the store is asked for, with all that lets it leave out blocks.
    func selection(from: Int64, to: Int64, _ order: LogSelection.Order) -> LogSelection {
        var selection = LogSelection(matchers, from: from, to: to)
        selection.order = order
        var isParsed = false
        for stage in stages {
            switch stage {
            case .line(let filter):
                selection.needles += filter.needles
                selection.hints += filter.hints
            case .label(let filter):
                // Once a parser ran, a label need not stand in the line as it is written in the query.
                if !isParsed { selection.metadataHints += filter.requiredValues }
            case .lineFormat, .unpack, .decolorize: return selection
            case .json, .logfmt, .pattern, .regexp, .labelFormat, .keep, .drop: isParsed = true
            }
        }
        return selection
    }
}
