import API
import Foundation

/// Finds commands in the output of a step, lines that begin with `::`, and rewrites them for people.
///
///     ::group::NAME  ::endgroup::                 stay: readers of the log fold what lies between
///     ::error file=a.c,line=3,title=T::text       become "error: a.c:3: T: text", and an annotation of the job
///     ::warning …::text  ::notice …::text         the same
///     ::debug::text                               becomes "debug: text"
///     ::stop-commands::TOKEN … ::TOKEN::          nothing in between is a command
///
/// `::add-mask::` is left to the output itself, through which every byte goes. All other lines pass as they are, in the
/// pieces in which they come; only a line that may be a command is held back until it ends.
struct StepCommands: Sendable {
    private(set) var annotations: [Annotation] = []
    /// Annotations beyond the limit: they are in the log alone.
    private(set) var dropped = 0
    private let step: Int
    /// The line so far, while it may be a command.
    private var line: [UInt8] = []
    /// In the middle of a line that is none.
    private var isPassing = false
    /// What ends `::stop-commands::`.
    private var token: String?

    /// Bytes of a command; a longer line is none.
    static let lineBytes = 64 << 10
    /// Bytes of a file's name or a title.
    private static let wordBytes = 512

    init(step: Int) { self.step = step }

    mutating func feed(_ bytes: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count)
        var rest = bytes[...]
        while !rest.isEmpty {
            let end = rest.firstIndex(of: UInt8(ascii: "\n"))
            let piece = rest[..<(end.map { $0 + 1 } ?? rest.endIndex)]
            rest = rest[piece.endIndex...]
            if isPassing {
                out += piece
            } else {
                line += piece
                if !Self.mayBeCommand(line) || line.count > Self.lineBytes {
                    out += line
                    line = []
                    isPassing = true
                } else if end != nil {
                    out += finish()
                }
            }
            if end != nil { isPassing = false }
        }
        return out
    }

    /// What is still held when the step has ended.
    mutating func flush() -> [UInt8] { line.isEmpty ? [] : finish() }

    private static func mayBeCommand(_ line: [UInt8]) -> Bool {
        let text = line.drop { $0 == 0x20 || $0 == 0x09 }
        let start = text.prefix(2)
        return start.allSatisfy { $0 == UInt8(ascii: ":") }
    }

    private mutating func finish() -> [UInt8] {
        defer { line = [] }
        var text = String(decoding: line, as: UTF8.self)
        let hasEnd = text.hasSuffix("\n")
        while let last = text.last, last.isNewline { text.removeLast() }
        guard let told = told(text) else { return line }
        return told.isEmpty ? [] : Array((told + (hasEnd ? "\n" : "")).utf8)
    }

    /// The line for the log; empty for none, nil when it is no command.
    private mutating func told(_ text: String) -> String? {
        guard let command = Command(text) else { return nil }
        if let token {
            guard command.name == token else { return nil }
            self.token = nil
            return ""
        }
        switch command.name.lowercased() {
        case "error": return annotate(.error, command)
        case "warning": return annotate(.warning, command)
        case "notice": return annotate(.notice, command)
        case "debug": return "debug: \(command.message)"
        case "stop-commands":
            guard !command.message.isEmpty else { return nil }
            token = command.message
            return ""
        default: return nil
        }
    }

    private mutating func annotate(_ level: Annotation.Level, _ command: Command) -> String {
        func word(_ name: String) -> String? {
            command.properties[name].flatMap { $0.isEmpty ? nil : String($0.prefix(Self.wordBytes)) }
        }
        func number(_ name: String) -> Int? { command.properties[name].flatMap(Int.init).flatMap { $0 > 0 ? $0 : nil } }
        var annotation = Annotation()
        (annotation.step, annotation.level) = (step, level)
        annotation.message = String(command.message.prefix(TestCase.messageBytes))
        (annotation.title, annotation.file) = (word("title"), word("file"))
        (annotation.line, annotation.column) = (number("line"), number("col") ?? number("column"))
        annotation.end_line = number("endline") ?? number("end_line")
        if annotations.count < Annotation.limit { annotations.append(annotation) } else { dropped += 1 }
        return "\(level.rawValue): \(annotation.text)"
    }

    /// `::name key=value,key=value::message`, by the rules of GitHub Actions.
    struct Command: Equatable {
        var name: String
        var properties: [String: String] = [:]
        var message: String

        init?(_ line: String) {
            let text = line.drop { $0 == " " || $0 == "\t" }
            guard text.hasPrefix("::") else { return nil }
            let body = text.dropFirst(2)
            guard let end = body.range(of: "::") else { return nil }
            let head = body[..<end.lowerBound]
            message = Self.plain(body[end.upperBound...])
            let space = head.firstIndex(of: " ") ?? head.endIndex
            name = String(head[..<space])
            guard !name.isEmpty else { return nil }
            for pair in head[space...].split(separator: ",") {
                guard let sign = pair.firstIndex(of: "=") else { continue }
                let key = pair[..<sign].drop { $0 == " " }.lowercased()
                properties[key] = Self.plain(pair[pair.index(after: sign)...], isProperty: true)
            }
        }

        /// The text with its escapes read: %25 last, so that %250A is "%0A".
        private static func plain(_ text: Substring, isProperty: Bool = false) -> String {
            var plain = text.replacing("%0D", with: "\r").replacing("%0A", with: "\n")
            if isProperty { plain = plain.replacing("%3A", with: ":").replacing("%2C", with: ",") }
            return String(plain.replacing("%25", with: "%"))
        }
    }
}
