import Series

extension Core {
    /// What the samples of one batch have in common.
    private struct Call {
        let segment: UInt32
        let latest: Int64
        let window: Int64
        let range: Int64
    }

    /// Adds a batch to memory and writes its record.
    ///
    /// `isTrusted` says that another store had taken it, so that nothing is too old.
    func append(
        _ batch: borrowing Batch, now: Int64?, options: TSDBOptions, isTrusted: Bool = false
    ) throws -> AppendResult {
        var result = AppendResult()
        let latest = now.map { $0.addingReportingOverflow(options.futureLimit) }
        let call = Call(
            segment: try log.begin(), latest: latest.map { $0.overflow ? .max : $0.partialValue } ?? .max,
            window: isTrusted ? .max : options.outOfOrderWindow, range: options.blockRange)
        var ids = [Int](repeating: Self.unknown, count: batch.entries.count)
        for sample in batch.samples {
            let entry = Int(sample.series)
            guard entry >= 0 else {
                result.refuse(.malformed, "a sample without a series")
                continue
            }
            if ids[entry] == Self.unknown { ids[entry] = resolve(batch, entry, options, &result) }
            let id = ids[entry]
            guard id >= 0 else {
                result.refuse(id == Self.limited ? .limit : .malformed, "a sample of a refused series")
                continue
            }
            let series = head.pointer(id)
            if sample.histogram < 0 && sample.time > series.pointee.lastTime && sample.time >= head.boundary
                && sample.time <= call.latest
            {
                log(id, series, call, sample.time)
                log.record.pointee.samples.add(
                    UInt32(truncatingIfNeeded: id), sample.time, sample.bits, after: series.pointee.loggedBits)
                series.pointee.loggedBits = sample.bits
                series.pointee.append(sample.time, sample.bits, range: call.range)
                note(sample.time)
                result.accepted += 1
            } else {
                try appendOther(batch, sample, id, call, &result)
            }
        }
        appendExtras(batch, &ids, options, &result)
        try log.commit()
        return result
    }

    private static let unknown = -1
    private static let limited = -2
    private static let malformed = -3

    /// The number of a batch's series: found, or made.
    private func resolve(
        _ batch: borrowing Batch, _ entry: Int, _ options: TSDBOptions, _ result: inout AppendResult
    ) -> Int {
        let place = batch.entries[entry]
        return batch.arena.withUnsafeBufferPointer { arena in
            let bytes = UnsafeBufferPointer(rebasing: arena[place.offset..<place.offset + place.length])
            if let id = head.find(bytes, place.hash) { return id }
            if let (reason, message) = LabelCheck(options: options).problem(bytes) {
                result.refuse(reason, message)
                return reason == .limit ? Self.limited : Self.malformed
            }
            let labels = Labels(encoded: Array(bytes))
            if head.seriesCount >= options.seriesAtMost {
                result.refuse(
                    .limit, "\(options.seriesAtMost) series are there, no more are taken: \(labels); \(offender)")
                return Self.limited
            }
            return head.insert(labels, place.hash)
        }
    }

    /// Who has most series, for the message of a limit.
    private var offender: String {
        guard let names = head.index.name(Array(Labels.metricNameLabel.utf8)),
            let most = names.postings.indices.max(by: { names.postings[$0].count < names.postings[$1].count })
        else { return "none has a name" }
        let name = names.values.withText(most) { String(decoding: $0, as: UTF8.self) }
        return "most are of \(name): \(names.postings[most].count)"
    }

    /// Makes the log know a series before its first sample in a segment.
    @inline(__always)
    private func log(_ id: Int, _ series: UnsafeMutablePointer<HeadSeries>, _ call: Call, _ time: Int64) {
        if series.pointee.loggedSegment != call.segment {
            log.record.pointee.define(UInt32(truncatingIfNeeded: id), series.pointee.labels)
            series.pointee.loggedSegment = call.segment
            series.pointee.loggedBits = 0
        }
        if time > log.record.pointee.newest { log.record.pointee.newest = time }
    }

    @inline(__always)
    func note(_ time: Int64) {
        if time > head.newest { head.newest = time }
        if time < head.oldestSinceLook { head.oldestSinceLook = time }
        head.sampleCount += 1
    }

    func noteLate(_ time: Int64) {
        if time > head.newest { head.newest = time }
        head.sampleCount += 1
        head.lateCount += 1
    }

    /// Histograms, and numbers that are not simply newer than all before.
    private func appendOther(
        _ batch: borrowing Batch, _ sample: Batch.Sample, _ id: Int, _ call: Call, _ result: inout AppendResult
    ) throws {
        let series = head.pointer(id)
        let histogram = sample.histogram >= 0 ? batch.histograms[Int(sample.histogram)] : nil
        if sample.time > call.latest {
            return result.refuse(.tooFarInFuture, "\(series.pointee.labels) at \(sample.time)")
        }
        if let histogram, sample.time > series.pointee.lastTime && sample.time >= head.boundary {
            log(id, series, call, sample.time)
            logHistogram(id, sample.time, histogram, isLate: false)
            series.pointee.append(sample.time, histogram, range: call.range)
            note(sample.time)
            result.accepted += 1
            return
        }
        if let isSame = try series.pointee.compare(sample.time, sample.bits, histogram) {
            if isSame { result.duplicates += 1 } else { refuseConflict(series.pointee, sample.time, call, &result) }
            return
        }
        let oldest = head.newest.subtractingReportingOverflow(call.window)
        guard call.window > 0, sample.time >= (oldest.overflow ? .min : oldest.partialValue) else {
            let isOld = sample.time > series.pointee.lastTime
            return result.refuse(isOld ? .tooOld : .outOfOrder, "\(series.pointee.labels) at \(sample.time)")
        }
        log(id, series, call, sample.time)
        if let histogram {
            logHistogram(id, sample.time, histogram, isLate: true)
        } else {
            log.record.pointee.late.add(UInt32(truncatingIfNeeded: id), sample.time, sample.bits, after: 0)
        }
        _ = series.pointee.insertLate(
            LateSample(time: sample.time, bits: sample.bits, histogram: histogram.map(LateSample.Box.init)))
        noteLate(sample.time)
        result.accepted += 1
    }

    /// Another value at a time that is taken: a conflict at the newest time or within the window, else merely too
    /// late.
    private func refuseConflict(_ series: HeadSeries, _ time: Int64, _ call: Call, _ result: inout AppendResult) {
        let isConflict = time == series.lastTime || call.window > 0
        result.refuse(isConflict ? .conflict : .outOfOrder, "\(series.labels) at \(time)")
    }

    private func logHistogram(_ id: Int, _ time: Int64, _ histogram: FloatHistogram, isLate: Bool) {
        var bytes: [UInt8] = []
        bytes.appendVarint(id)
        bytes.append(isLate ? 1 : 0)
        bytes.append(contentsOf: HistogramChunk.encode([.init(time: time, histogram: histogram)]))
        log.record.pointee.add(.histograms, bytes)
    }

    private func appendExtras(
        _ batch: borrowing Batch, _ ids: inout [Int], _ options: TSDBOptions, _ result: inout AppendResult
    ) {
        for (entry, exemplar) in batch.exemplars where entry >= 0 {
            if ids[Int(entry)] == Self.unknown { ids[Int(entry)] = resolve(batch, Int(entry), options, &result) }
            guard ids[Int(entry)] >= 0 else { continue }
            let series = head.pointer(ids[Int(entry)]).pointee.labels
            var bytes: [UInt8] = []
            bytes.appendText(series.bytes)
            bytes.appendText(exemplar.labels.bytes)
            bytes.appendSigned(exemplar.time)
            bytes.appendWord(exemplar.value.bitPattern)
            log.record.pointee.add(.exemplars, bytes)
            exemplars.add(.init(series: series, exemplar: exemplar))
            result.exemplars += 1
        }
        for (name, described) in batch.metadata where metadata[name] != described {
            guard metadata.count < options.metadataAtMost || metadata[name] != nil else {
                result.refuse(.limit, "\(options.metadataAtMost) metrics are described, no more: \(name)")
                continue
            }
            metadata[name] = described
            log.record.pointee.add(.metadata, Core.encode(name, described))
        }
    }

    static func encode(_ name: String, _ metadata: MetricMetadata) -> [UInt8] {
        var bytes: [UInt8] = []
        for text in [name, metadata.type, metadata.help, metadata.unit] { bytes.appendText(Array(text.utf8)) }
        return bytes
    }

    static func decodeMetadata(_ reader: inout ByteReader) throws -> (String, MetricMetadata) {
        func text() throws -> String { String(decoding: try reader.text(), as: UTF8.self) }
        let name = try text()
        return (name, MetricMetadata(type: try text(), help: try text(), unit: try text()))
    }
}

extension HeadSeries {
    /// Whether the series has the same sample at a time; nil when the head has none then.
    func compare(_ time: Int64, _ bits: UInt64, _ histogram: FloatHistogram?) throws -> Bool? {
        guard time <= lastTime || time <= (late.last?.time ?? .min) else { return nil }
        var buffer = SampleBuffer()
        try read(from: time, to: time, into: &buffer)
        guard buffer.count == 1 else { return nil }
        if buffer.hasHistograms, buffer.histogramAt[0] >= 0 {
            guard let histogram else { return false }
            return HistogramChunk.isSame(buffer.histograms[Int(buffer.histogramAt[0])], histogram)
        }
        return histogram == nil && buffer.values[0].bitPattern == bits
    }

    /// Adds what the head has between two times.
    func read(from: Int64, to: Int64, into buffer: inout SampleBuffer) throws {
        try HeadPart(self).read(from: from, to: to, into: &buffer)
    }
}
