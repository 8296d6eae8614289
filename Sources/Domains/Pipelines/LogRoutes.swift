import API
import Kernel
import SQL

/// Reading what jobs have written.
extension RunRoutes {
    func log(_ input: LogQuery) async throws -> LogChunk {
        let key = try await key(RunName(project: input.project, run: input.run), input.job)
        guard input.wait else { return try await chunk(key, input) }
        var input = input
        if input.tail != nil {
            // Counted from the end once: what comes then lies behind it.
            let first = try await chunk(key, input)
            if !first.text.isEmpty || first.ended { return first }
            (input.tail, input.offset) = (nil, first.next_offset)
        }
        let query = input
        let deadline = context.time.now.advanced(by: PipelineLimits.logWait)
        let found = try await context.store.bells.poll([key.logTopic], until: deadline, by: context.time) {
            () -> LogChunk? in
            let chunk = try await chunk(key, query)
            return chunk.text.isEmpty && !chunk.ended ? nil : chunk
        }
        if let found { return found }
        return try await chunk(key, query)
    }

    private func key(_ run: RunName, _ job: String) async throws -> JobKey {
        let id = try await find(run).run.id
        return try await context.store.read { try Self.job(job, of: id, in: $0) }
    }

    private func chunk(_ key: JobKey, _ input: LogQuery) async throws -> LogChunk {
        // Asked before the output is read: what an ended job has written is all there.
        let (hasEnded, window) = try await context.store.read { sql in
            let hasEnded = try sql.glance(key)?.job.status.hasEnded ?? true
            return (hasEnded, try input.attempt.map { try Self.window(of: $0, of: key, in: sql) } ?? 0..<Int64.max)
        }
        var chunk = try logs.lines(key) { lines in
            try Self.chunk(of: lines, input, in: window, hasEnded: hasEnded || window.upperBound < .max)
        }
        if chunk == nil {
            var empty = LogChunk()
            (empty.ended, empty.next_offset) = (hasEnded, max(0, input.offset))
            chunk = empty
        }
        return chunk ?? LogChunk()
    }

    /// Where in a job's output that of one of its tries lies.
    private static func window(of attempt: Int, of key: JobKey, in sql: Connection) throws -> Range<Int64> {
        guard let stored = try sql.jobs(run: key.run).first(where: { $0.key == key }) else { return 0..<0 }
        let all = stored.job.attempts.isEmpty ? [stored.lastAttempt] : stored.job.attempts
        guard let index = all.firstIndex(where: { $0.attempt == attempt }) else {
            throw Problem(
                "attempt.not-found", status: 404, "job \"\(stored.job.key)\" has no attempt \(attempt)",
                hint: "It has \(all.map { String($0.attempt) }.joined(separator: ", ")).")
        }
        let start = all[index].log_offset
        return start..<max(start, index + 1 < all.count ? all[index + 1].log_offset : .max)
    }

    private static func chunk(
        of lines: borrowing LogLines, _ input: LogQuery, in window: Range<Int64>, hasEnded: Bool
    ) throws -> LogChunk {
        var chunk = LogChunk()
        chunk.total_lines = try lines.count()
        let size = min(lines.size, window.upperBound)
        var offset = max(0, input.offset)
        if let line = input.line { offset = try lines.start(of: line) }
        if let tail = input.tail {
            let last = size == lines.size ? chunk.total_lines : try lines.number(at: size) - 1
            offset = tail == 0 ? size : try lines.start(of: max(1, last - tail + 1))
        }
        offset = max(offset, window.lowerBound)
        chunk.first_line = try lines.number(at: offset)
        let read = try lines.file.read(from: offset, limit: Int(min(Int64(input.limit), max(0, size - offset))))
        var bytes = LogBook.whole(read)
        var end = bytes.count
        if let most = input.lines {
            var left = most
            if let place = bytes.place(afterNewline: &left) {
                bytes.removeLast(bytes.count - place)
                end = place
            }
        }
        if bytes.isEmpty, hasEnded, offset < size {
            // What is left is no whole character and never will be.
            (bytes, end) = (Array("\u{FFFD}".utf8), read.count)
        }
        chunk.text = String(decoding: bytes, as: UTF8.self)
        chunk.next_offset = offset + Int64(end)
        chunk.ended = hasEnded && chunk.next_offset >= size
        return chunk
    }

    // MARK: Search

    /// How long one question may take, and the bytes looked at between two looks at the clock.
    private static let searchTime: Duration = .seconds(2)
    private static let searchBytes = 1 << 20
    /// Bytes of a found line that are shown.
    private static let shownBytes = 4096

    func search(_ input: LogSearch) async throws -> LogMatches {
        let key = try await key(RunName(project: input.project, run: input.run), input.job)
        var search = LineSearch(
            try LinePattern(input.pattern, isRegex: input.regex, ignoresCase: input.ignore_case), limit: input.limit)
        let end = context.time.now.advanced(by: Self.searchTime)
        guard let (start, size) = try logs.lines(key, { (try $0.start(of: input.line), $0.size) }) else {
            return LogMatches()
        }
        var offset = start
        while offset < size, !search.isFull, context.time.now < end {
            let bytes = try logs.bytes(key, from: offset, limit: min(Self.searchBytes, Int(size - offset)))
            if bytes.isEmpty { break }
            search.feed(bytes)
            offset += Int64(bytes.count)
            // Others want the processor too.
            await Task.yield()
        }
        let isWhole = offset >= size && !search.isFull
        if isWhole { search.finish() }
        var answer = LogMatches()
        for found in search.found {
            var match = LogMatch()
            (match.line, match.offset) = (input.line + found.line, start + found.offset)
            let bytes = try logs.bytes(key, from: match.offset, limit: Self.shownBytes)
            match.text = String(decoding: bytes.prefix { $0 != 0x0A }, as: UTF8.self)
            answer.matches.append(match)
        }
        if !isWhole {
            answer.next_line =
                input.line + (search.found.last.map { search.isFull ? $0.line + 1 : search.line } ?? search.line)
        }
        return answer
    }
}
