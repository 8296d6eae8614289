/// Many texts in one run of UTF-8 bytes: no allocation per cell.
package struct TextTable: Sendable {
    var bytes: [UInt8] = []
    /// Where each text starts, and where the last one ends: `count + 1` numbers.
    var offsets: [Int] = [0]
    package private(set) var missing = Bitmap()

    package init() {}

    /// Makes a table of texts; nil is missing.
    package init(_ values: some Sequence<String?>) {
        for value in values { append(value) }
    }

    init(bytes: [UInt8], offsets: [Int], missing: Bitmap) {
        self.bytes = bytes
        self.offsets = offsets
        self.missing = missing
    }

    package var count: Int { offsets.count - 1 }

    /// The text of a row, or nil when it is missing.
    package subscript(_ row: Int) -> String? {
        missing[row] ? nil : String(decoding: bytes[offsets[row]..<offsets[row + 1]], as: UTF8.self)
    }

    package mutating func append(_ value: String?) {
        guard var value else { return appendMissing() }
        value.withUTF8 { append($0) }
    }

    mutating func append(_ text: UnsafeBufferPointer<UInt8>) {
        bytes.append(contentsOf: text)
        offsets.append(bytes.count)
    }

    mutating func appendMissing() {
        missing.insert(count)
        offsets.append(bytes.count)
    }

    mutating func removeLast() {
        offsets.removeLast()
        bytes.removeSubrange(offsets[offsets.count - 1]...)
        missing.truncate(to: count)
    }

    func take(_ rows: [Int]) -> TextTable {
        var taken = TextTable()
        taken.offsets.reserveCapacity(rows.count + 1)
        for row in rows {
            if missing[row] {
                taken.appendMissing()
            } else {
                taken.bytes.append(contentsOf: bytes[offsets[row]..<offsets[row + 1]])
                taken.offsets.append(taken.bytes.count)
            }
        }
        return taken
    }
}

extension TextTable: Equatable {
    package static func == (left: TextTable, right: TextTable) -> Bool {
        left.missing == right.missing && left.offsets == right.offsets && left.bytes == right.bytes
    }
}
