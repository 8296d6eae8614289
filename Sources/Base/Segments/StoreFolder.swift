/// The files of a store: numbered write-ahead logs, and segments that carry the number of the last log they hold.
package struct StoreFolder: Sendable {
    package let path: String
    /// With its dot: `.logs`.
    package let segmentEnding: String

    /// Makes the folder if it is not there.
    package init(_ path: String, segmentEnding: String) throws {
        self.path = path
        self.segmentEnding = segmentEnding
        try Disk.makeFolders(path)
    }

    package func log(_ number: UInt64) -> String { "\(path)/\(padded(number)).wal" }

    package func segment(_ number: UInt64) -> String { "\(path)/\(padded(number))\(segmentEnding)" }

    private func padded(_ number: UInt64) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 12 - digits.count)) + digits
    }

    /// Numbers of the files that are there, ascending; files that were never finished are removed.
    package func find() throws -> (segments: [UInt64], logs: [UInt64]) {
        var (segments, logs): ([UInt64], [UInt64]) = ([], [])
        for file in try Disk.names(in: path) {
            guard let dot = file.lastIndex(of: "."), let number = UInt64(file.prefix { $0 != "." }) else { continue }
            switch file[dot...] {
            case ".wal": logs.append(number)
            case segmentEnding[...]: segments.append(number)
            case Disk.temporarySuffix[...]: try Disk.remove("\(path)/\(file)")
            default: continue
            }
        }
        return (segments.sorted(), logs.sorted())
    }

    /// Removes the logs whose records a segment holds.
    package func removeLogs(upTo number: UInt64) throws {
        for log in try find().logs where log <= number { try Disk.remove(self.log(log)) }
    }
}
