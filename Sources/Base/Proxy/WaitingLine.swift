/// Requests of one loop that wait until an endpoint may take them, a line for each revision; used on that loop only.
final class WaitingLine {
    private struct Line {
        var exchanges: [Exchange] = []
        /// Those before it have gone.
        var first = 0
    }

    private var lines: [ObjectIdentifier: Line] = [:]

    var isEmpty: Bool { lines.isEmpty }

    /// Whether somebody waits for a revision, so that who comes later has to wait as well.
    func holds(_ revision: CompiledRevision) -> Bool {
        !lines.isEmpty && lines[ObjectIdentifier(revision)] != nil
    }

    func add(_ exchange: Exchange, for revision: CompiledRevision) {
        lines[ObjectIdentifier(revision), default: Line()].exchanges.append(exchange)
    }

    /// Sends on as many as find a place now, in their order.
    func wake(_ revision: CompiledRevision) {
        guard !lines.isEmpty else { return }
        wake(ObjectIdentifier(revision))
    }

    /// Looks at all lines: places also become free on other loops, and endpoints come back.
    func wakeAll() {
        for key in Array(lines.keys) { wake(key) }
    }

    /// Asks for a place for the first of each line that no place of this loop's own has come free for.
    func wantPlaces() {
        for line in lines.values { line.exchanges[line.first].wantPlace() }
    }

    private func wake(_ key: ObjectIdentifier) {
        // Taken out while it is worked on: what is sent on may end at once and wake the line again.
        guard var line = lines.removeValue(forKey: key) else { return }
        while line.first < line.exchanges.count, line.exchanges[line.first].leaveLine() { line.first += 1 }
        guard line.first < line.exchanges.count else { return }
        if line.first > 64 {
            line.exchanges.removeFirst(line.first)
            line.first = 0
        }
        if let later = lines[key] { line.exchanges += later.exchanges[later.first...] }
        lines[key] = line
    }
}
