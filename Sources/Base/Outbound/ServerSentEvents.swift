/// One event of a server-sent stream.
package struct ServerSentEvent: Sendable, Equatable {
    /// `message` when the server gave no name.
    package var name: String
    package var data: String
    /// The last id seen so far in the stream, to go on from after a break.
    package var id: String

    package init(name: String = "message", data: String, id: String = "") {
        (self.name, self.data, self.id) = (name, data, id)
    }
}

/// Cuts a stream of bytes into server-sent events, fed piece by piece.
///
/// Follows the WHATWG HTML standard, §9.2.6 "Interpreting an event stream": lines end in LF, CR or CRLF, several `data`
/// lines are joined by LF, comments are skipped, an event without an empty line after it never happened.
package struct ServerSentEvents: Sendable {
    /// Bytes that one event may have, its unfinished line included.
    package static let eventBytes = 8 << 20

    /// The last id that the server gave.
    package private(set) var lastEventID = ""
    /// How many milliseconds the server asks clients to wait before they connect again.
    package private(set) var retryMilliseconds: Int?

    private var line: [UInt8] = []
    private var data: [UInt8] = []
    private var hasData = false
    private var name = ""
    private var pendingID: String?
    private var isAfterCarriageReturn = false
    private var isFirstLine = true

    package init() {}

    /// Takes the next bytes and returns the events that they complete.
    package mutating func feed(_ bytes: some Sequence<UInt8>) throws(OutboundError) -> [ServerSentEvent] {
        var events: [ServerSentEvent] = []
        for byte in bytes {
            let isPairEnd = byte == UInt8(ascii: "\n") && isAfterCarriageReturn
            isAfterCarriageReturn = byte == UInt8(ascii: "\r")
            if isPairEnd { continue }
            if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
                if let event = endLine() { events.append(event) }
            } else {
                line.append(byte)
                guard line.count + data.count <= Self.eventBytes else {
                    throw OutboundError(.tooLarge, "an event is larger than \(Self.eventBytes) bytes")
                }
            }
        }
        return events
    }

    private mutating func endLine() -> ServerSentEvent? {
        if isFirstLine, line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }
        isFirstLine = false
        defer { line.removeAll(keepingCapacity: true) }
        guard !line.isEmpty else { return dispatch() }
        let colon = line.firstIndex(of: UInt8(ascii: ":"))
        let field = String(decoding: line[..<(colon ?? line.endIndex)], as: UTF8.self)
        var value = colon.map { line[($0 + 1)...] } ?? []
        if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
        switch field {
        case "data":
            if hasData { data.append(UInt8(ascii: "\n")) }
            data += value
            hasData = true
        case "event": name = String(decoding: value, as: UTF8.self)
        case "id" where !value.contains(0): pendingID = String(decoding: value, as: UTF8.self)
        case "retry" where value.allSatisfy { (0x30...0x39).contains($0) }:
            retryMilliseconds = Int(String(decoding: value, as: UTF8.self)) ?? retryMilliseconds
        default: break
        }
        return nil
    }

    private mutating func dispatch() -> ServerSentEvent? {
        defer { (data, hasData, name, pendingID) = ([], false, "", nil) }
        if let pendingID { lastEventID = pendingID }
        guard hasData else { return nil }
        return ServerSentEvent(
            name: name.isEmpty ? "message" : name, data: String(decoding: data, as: UTF8.self), id: lastEventID)
    }
}
