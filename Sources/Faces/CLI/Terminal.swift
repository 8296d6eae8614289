import Foundation

/// Where output goes: written to the descriptor at once, since `print` holds lines back when it writes to a pipe.
enum Terminal {
    static func out(_ text: String) { write(text, to: STDOUT_FILENO) }
    static func out(_ bytes: [UInt8]) { write(bytes[...], to: STDOUT_FILENO) }
    static func error(_ text: String) { write(text, to: STDERR_FILENO) }
    static func line(_ text: String = "") { out(text + "\n") }

    static let isInteractive = isatty(STDOUT_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    static let hasColour = isInteractive && ProcessInfo.processInfo.environment["NO_COLOR"] == nil

    static var width: Int {
        var size = winsize()
        return ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 20 ? Int(size.ws_col) : 100
    }

    private static func write(_ text: String, to descriptor: Int32) {
        write(Array(text.utf8)[...], to: descriptor)
    }

    private static func write(_ bytes: ArraySlice<UInt8>, to descriptor: Int32) {
        var bytes = bytes
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                return  // nobody reads any more: head, less
            }
            bytes = bytes.dropFirst(count)
        }
    }

    enum Style: String { case bold = "1", dim = "2", red = "31", green = "32", yellow = "33", blue = "34", cyan = "36" }

    static func styled(_ text: String, _ style: Style) -> String {
        hasColour ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
    }
}

/// A table for people: columns as wide as they must be, the last one cut at the edge of a terminal.
struct Table {
    var header: [String]
    var rows: [[String]] = []

    init(_ header: [String]) { self.header = header }

    var text: String {
        let all = [header] + rows
        let widths = header.indices.map { column in all.map { visible($0[column]) }.max() ?? 0 }
        return all.enumerated().map { index, row in
            var line = ""
            for (column, cell) in row.enumerated() {
                let shown = index == 0 ? Terminal.styled(cell, .bold) : cell
                line +=
                    column == row.count - 1
                    ? shown : shown + String(repeating: " ", count: widths[column] - visible(cell) + 2)
            }
            return line + "\n"
        }.joined()
    }

    /// Characters that take room: escape sequences do not.
    private func visible(_ text: String) -> Int {
        var count = 0
        var isEscape = false
        for character in text {
            if character == "\u{1B}" {
                isEscape = true
            } else if isEscape {
                isEscape = character != "m"
            } else {
                count += 1
            }
        }
        return count
    }
}
