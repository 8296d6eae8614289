import Series

/// `label_replace` and `label_join`: the samples stay, the labels change.
extension Evaluator {
    func relabelled<Sink: RowSink>(
        _ function: Function, _ arguments: [Expression], _ steps: Steps, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        var texts: [String] = []
        for argument in arguments.dropFirst() {
            guard case .string(let bytes) = argument.unwrapped.kind else {
                throw failure("expected a string", at: argument.range)
            }
            // Which of the texts are names of labels: the target always, the sources of a join too.
            let isTarget = texts.isEmpty
            if isTarget || (function == .labelJoin && texts.count >= 2), LabelName.valid(bytes) == nil {
                let role = isTarget ? "destination" : "source"
                let name = String(decoding: bytes, as: UTF8.self)
                throw failure("invalid \(role) label name in \(function.rawValue)(): \(name)", at: argument.range)
            }
            texts.append(String(decoding: bytes, as: UTF8.self))
        }
        let target = texts[0]
        let change: (Labels) -> String?
        if function == .labelJoin {
            change = { labels in texts.dropFirst(2).map { labels[$0] ?? "" }.joined(separator: texts[1]) }
        } else {
            let pattern: LabelPattern
            do {
                pattern = try LabelPattern(texts[3])
            } catch {
                throw failure("invalid regular expression in label_replace(): \(texts[3])", at: arguments[4].range)
            }
            change = { pattern.replacing($0[texts[2]] ?? "", with: texts[1]) }
        }
        var table = try table(arguments[0], steps)
        for index in 0..<table.count {
            guard let value = change(table.labels[index]) else { continue }
            table.replace(index, table.labels[index].with(target, value), givesName: target == Labels.metricNameLabel)
        }
        try FinalRows.requireDistinct(table)
        budget.release(SampleBudget.size(of: table))
        return try emit(table, make)
    }
}

extension Table {
    mutating func replace(_ index: Int, _ new: Labels, givesName: Bool) {
        let drops = dropsName[index] && !givesName
        relabel(index, new)
        if drops { markName(index) }
    }
}
