internal import Segments
internal import Series

// What happens under the store's lock. Nothing here waits for anything but the write to the log.
extension LogStore.State {
    /// Checks, logs and keeps the entries of a push.
    mutating func append(
        _ streams: [(labels: Labels, page: LogPage)], _ now: Int64, _ limits: LogLimits, _ name: String
    ) throws -> LogReceipt {
        if head.weight + frozen.reduce(0, { $0 + $1.weight }) > 3 * limits.headBytes {
            throw StorageError(
                .full, "the memory for lines is full, and they cannot be written: \(failure ?? "the disk is slow")",
                hint: "Look at the disk of the data folder.")
        }
        var receipt = LogReceipt()
        var taken: [(labels: Labels, page: LogPage)] = []
        var (new, newest): (Set<Labels>, [Labels: Int64]) = ([], [:])
        for (labels, page) in streams where !page.isEmpty {
            let id = index.id(of: labels)
            if id == nil, !new.contains(labels) {
                if let problem = check(labels, limits, known: index.count + new.count, name) {
                    receipt.refuse(problem.reason, labels, problem.message, page.count)
                    continue
                }
                new.insert(labels)
            }
            var last = newest[labels] ?? id.flatMap { index.streams[$0]?.newest } ?? .min
            let kept = LogAdmission(limits: limits, now: now).admit(page, of: labels, &last, &receipt)
            newest[labels] = last
            if kept.isEmpty { continue }
            taken.append((labels, kept))
            log.append(LogRecord.encode(labels, kept))
        }
        try log.commit()
        for (labels, page) in taken {
            let repeated = keep(labels, page, limits)
            receipt.repeated += repeated
            receipt.accepted += page.count
            receipt.bytes += page.bytes
            if repeated < page.count { for tail in tails.values { tail.offer(labels, page) } }
        }
        return receipt
    }

    private mutating func keep(_ labels: Labels, _ page: LogPage, _ limits: LogLimits) -> Int {
        let id = index.enter(labels)
        let isNew = head.streams[id] == nil
        let repeated = head.add(page, to: id, labels, blockBytes: limits.blockBytes)
        if isNew { index.hold(id) }
        for time in page.times { index.saw(id, time) }
        return repeated
    }

    mutating func replay(_ record: UnsafeRawBufferPointer, _ limits: LogLimits) throws {
        switch try LogRecord(record) {
        case .entries(let labels, let page): _ = keep(labels, page, limits)
        case .deletion(let labels): if let id = index.id(of: labels) { dropFromMemory(id) }
        }
    }

    /// Forgets what the heads have of a stream.
    mutating func dropFromMemory(_ id: Int) {
        if head.remove(id) { index.release(id) }
        for place in frozen.indices where frozen[place].remove(id) { index.release(id) }
    }

    mutating func attach(_ segment: LogSegment) {
        var streams: [Int: [LogBlock]] = [:]
        for stream in segment.streams {
            let id = index.enter(stream.labels)
            index.hold(id)
            for block in stream.blocks { index.saw(id, block.to) }
            streams[id] = stream.blocks
        }
        segments.append(LogStore.AttachedSegment(segment: segment, streams: streams))
    }

    private func check(
        _ labels: Labels, _ limits: LogLimits, known: Int, _ name: String
    ) -> (reason: LogRefusal.Reason, message: String)? {
        let pairs = labels.pairs
        if pairs.isEmpty { return (.noLabels, "a stream has no labels") }
        if pairs.count > limits.labelsPerStream {
            return (
                .tooManyLabels, "the stream \(labels) has \(pairs.count) labels; \(limits.labelsPerStream) are allowed"
            )
        }
        for pair in pairs {
            if pair.name.utf8.count > limits.labelNameBytes {
                return (
                    .labelName,
                    "the label name \"\(pair.name.prefix(64))…\" is longer than \(limits.labelNameBytes) bytes"
                )
            }
            if pair.value.utf8.count > limits.labelValueBytes {
                return (
                    .labelValue,
                    "the value of the label \"\(pair.name)\" is longer than \(limits.labelValueBytes) bytes"
                )
            }
        }
        guard known >= limits.streams else { return nil }
        var message = "\"\(name)\" has \(known) streams, and \(limits.streams) are allowed"
        if let widest = index.widestLabel {
            message += "; the label \"\(widest.name)\" alone has \(widest.values) values"
        }
        return (.tooManyStreams, message)
    }
}

/// Decides which entries of a page may come in.
struct LogAdmission {
    let limits: LogLimits
    let now: Int64

    /// - Parameters:
    ///   - page: What was pushed.
    ///   - labels: The stream's.
    ///   - newest: Time of the stream's newest entry; moved on by those that come in.
    ///   - receipt: Told what was refused and cut.
    /// - Returns: The entries that may come in; the page itself if all may.
    func admit(_ page: LogPage, of labels: Labels, _ newest: inout Int64, _ receipt: inout LogReceipt) -> LogPage {
        var kept: LogPage?
        for index in page.times.indices {
            let (time, length) = (page.times[index], page.lineRange(index).count)
            if let (reason, message) = refusal(time, length, page.metadataRange(index).count, newest) {
                receipt.refuse(reason, labels, message, 1)
                kept = kept ?? page.prefix(index)
                continue
            }
            newest = max(newest, time)
            if length > limits.lineBytes {
                receipt.cut += 1
                kept = kept ?? page.prefix(index)
                page.withLine(index) { line in
                    page.withMetadata(index) { kept?.add(time, Self.cut(line, limits.lineBytes), $0) }
                }
            } else {
                kept?.add(index, of: page)
            }
        }
        return kept ?? page
    }

    private func refusal(
        _ time: Int64, _ length: Int, _ metadata: Int, _ newest: Int64
    ) -> (LogRefusal.Reason, String)? {
        if length > limits.lineBytes, !limits.cutsLongLines {
            return (.lineTooLong, "a line has \(length) bytes; \(limits.lineBytes) are allowed")
        }
        if metadata > limits.metadataBytes {
            return (
                .metadataTooLarge, "the metadata of an entry has \(metadata) bytes; \(limits.metadataBytes) are allowed"
            )
        }
        if let oldest = limits.oldest, time < now &- oldest {
            return (.tooOld, "an entry of \(time) is older than \(oldest / 1_000_000_000) seconds")
        }
        if time > now &+ limits.ahead {
            return (
                .tooFarAhead, "an entry of \(time) is more than \(limits.ahead / 1_000_000_000) seconds ahead of now"
            )
        }
        // Not `newest - window`: a new stream's newest is the smallest number there is.
        if newest != .min, time < newest, newest.subtractingReportingOverflow(time).partialValue > limits.window {
            return (
                .tooFarBehind,
                "an entry of \(time) is more than \(limits.window / 1_000_000_000) seconds behind its stream's newest"
            )
        }
        return nil
    }

    /// The first bytes of a line, not ending within a character.
    private static func cut(_ line: UnsafeBufferPointer<UInt8>, _ limit: Int) -> UnsafeBufferPointer<UInt8> {
        var end = limit
        while end > 0, line[end] & 0xC0 == 0x80 { end -= 1 }
        return UnsafeBufferPointer(rebasing: line[..<end])
    }
}

extension LogReceipt {
    /// Counts a refusal with those of the same stream and reason.
    mutating func refuse(_ reason: LogRefusal.Reason, _ stream: Labels, _ message: String, _ entries: Int) {
        if let place = refusals.firstIndex(where: { $0.reason == reason && $0.stream == stream }) {
            refusals[place].entries += entries
        } else if refusals.count < Self.mostRefusals {
            refusals.append(LogRefusal(reason: reason, stream: stream, entries: entries, message: message))
        } else {
            refusals[Self.mostRefusals - 1].entries += entries
        }
    }

    /// Reasons that one receipt spells out; the entries of further ones are counted with the last.
    static let mostRefusals = 100
}
