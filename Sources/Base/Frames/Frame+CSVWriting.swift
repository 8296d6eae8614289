extension Frame {
    /// Writes the table as CSV with a header and LF line ends; what `readCSV` reads back with the same schema is equal.
    ///
    /// A missing value is an empty cell, the empty text is `""`.
    ///
    /// - Throws: `unwritable`; the file is then as it was before.
    package func writeCSV(path: String) throws(FrameError) {
        let file = try FileWriter(path: path)
        try file.write(Self.line(names.map(Self.quoted)).utf8)
        for row in 0..<rowCount {
            for (index, column) in columns.enumerated() {
                if index > 0 { try file.write(UInt8(ascii: ",")) }
                guard let text = column.text(row) else { continue }
                switch column {
                case .category, .string: try file.write(Self.quoted(text).utf8)
                default: try file.write(text.utf8)
                }
            }
            try file.write(UInt8(ascii: "\n"))
        }
        try file.finish()
    }

    private static func line(_ cells: [String]) -> String { cells.joined(separator: ",") + "\n" }

    /// The text in quotes when it is empty or has a comma, a quote or a line end in it.
    private static func quoted(_ text: String) -> String {
        let needsQuotes =
            text.isEmpty || text.utf8.contains { $0 == 0x22 || $0 == 0x2C || $0 == 0x0A || $0 == 0x0D }
        guard needsQuotes else { return text }
        var quoted = "\""
        for character in text.unicodeScalars {
            if character == "\"" { quoted.unicodeScalars.append(character) }
            quoted.unicodeScalars.append(character)
        }
        return quoted + "\""
    }
}
