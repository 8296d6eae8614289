import API
import Manifests

/// A file of a run as far as a page can show it.
struct FilePreview: Sendable {
    enum Kind: Sendable, Equatable {
        case image, table(separator: Character), json, html, text, other

        init(_ path: String) {
            let ending = path.split(separator: ".").last.map { $0.lowercased() } ?? ""
            switch ending {
            case "png", "jpg", "jpeg", "gif", "webp", "svg", "bmp", "avif": self = .image
            case "csv": self = .table(separator: ",")
            case "tsv": self = .table(separator: "\t")
            case "json": self = .json
            case "html", "htm": self = .html
            case "txt", "md", "log", "yaml", "yml", "toml", "ini", "cfg", "py", "r", "sh", "sql", "xml", "jsonl":
                self = .text
            default:
                self =
                    path.split(separator: "/").last.map { ["MLmodel", "README"].contains($0) } == true ? .text : .other
            }
        }

        var isText: Bool { self != .image && self != .other }
    }

    struct Row: Sendable, Equatable {
        let cells: [String]
    }
    struct Table: Sendable {
        let columns: [String]
        let rows: [Row]
    }

    let name: String
    let download: String
    let image: String?
    let table: Table?
    let text: String?
    /// The page of a file in HTML, for a frame that may run nothing and belongs to no origin.
    let html: String?
    let note: String?

    private static let rowLimit = 200
    private static let columnLimit = 60
    private static let textLimit = 200_000

    init(_ path: String, _ kind: Kind, run: String, text whole: TrackedText?) {
        name = path
        let address = "/mlflow/get-artifact?run_uuid=\(Links.encoded(run))&path=\(Links.encoded(path))"
        download = address
        image = kind == .image ? address : nil
        var (table, text, html): (Table?, String?, String?) = (nil, nil, nil)
        var note = kind == .other ? "There is no preview of this kind of file." : nil
        if kind.isText, whole == nil { note = "There is no such file." }
        if let whole {
            switch kind {
            case .table(let separator): table = Self.table(whole.text, separator)
            case .json:
                let pretty = try? JSONParser.parse(whole.text).prettyText  // not whole: shown as it is
                text = pretty ?? whole.text
            case .html: html = whole.text
            default: text = whole.text
            }
            if whole.text.utf8.count < whole.size_bytes || (text?.count ?? 0) > Self.textLimit {
                note = "The beginning of \(Format.bytes(Int(whole.size_bytes)))."
            }
            if let rows = table?.rows.count, rows == Self.rowLimit { note = "The first \(rows) rows." }
        }
        self.text = text.map { String($0.prefix(Self.textLimit)) }
        (self.table, self.html, self.note) = (table, html, note)
    }

    /// The first rows of a table; quoted fields may hold separators, line ends and doubled quotes (RFC 4180).
    static func table(_ text: String, _ separator: Character) -> Table? {
        var rows: [[String]] = [[]]
        var (field, isQuoted, wasQuote) = ("", false, false)
        func close() {
            if rows[rows.count - 1].count < columnLimit { rows[rows.count - 1].append(field) }
            field = ""
        }
        for character in text {
            if isQuoted {
                if wasQuote {
                    wasQuote = false
                    if character == "\"" {
                        field.append(character)
                        continue
                    }
                    isQuoted = false
                } else if character == "\"" {
                    wasQuote = true
                    continue
                } else {
                    field.append(character)
                    continue
                }
            }
            if character == "\"", field.isEmpty {
                isQuoted = true
            } else if character == separator {
                close()
            } else if character.isNewline {
                close()
                if rows.count > rowLimit { break }
                rows.append([])
            } else {
                field.append(character)
            }
        }
        if !field.isEmpty || !(rows.last?.isEmpty ?? true) { close() }
        rows.removeAll { $0.isEmpty || $0 == [""] }
        guard let head = rows.first else { return nil }
        return Table(columns: head, rows: rows.dropFirst().prefix(rowLimit).map { Row(cells: $0) })
    }
}
