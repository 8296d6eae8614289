/// Where things are in the UI.
enum Links {
    static func run(_ id: String, view: String? = nil, job: String? = nil) -> String {
        path(["runs", id], ["view": view, "job": job])
    }
    static func service(_ name: String) -> String { path(["services", name]) }
    static func pipeline(_ name: String) -> String { path(["pipelines", name]) }
    static func model(_ name: String, version: String? = nil) -> String {
        path(["models", name], ["version": version])
    }
    static func version(_ model: String, _ version: String, against: String? = nil) -> String {
        path(["models", model, version], ["against": against])
    }
    static func dataset(_ name: String) -> String { path(["datasets", name]) }
    static func dashboard(_ name: String) -> String { path(["dashboards", name]) }
    static func monitor(_ name: String) -> String { path(["monitors", name]) }
    static func resource(_ plural: String, _ name: String) -> String { path(["resources", plural, name]) }

    /// The page of what an event is about, if there is one.
    static func subject(kind: String, name: String) -> String? {
        switch kind.lowercased() {
        case "run": run(name)
        case "service": service(name)
        case "pipeline": pipeline(name)
        case "model": model(name)
        case "dataset": dataset(name)
        case "monitor": monitor(name)
        case "dashboard": dashboard(name)
        case "environment": resource("environments", name)
        case "repository": resource("repositories", name)
        default: nil
        }
    }

    /// A path of segments and a query, both percent-encoded; absent values are left out.
    static func path(_ segments: [String], _ query: KeyValuePairs<String, String?> = [:]) -> String {
        let pairs = query.compactMap { key, value in value.map { "\(key)=\(encoded($0))" } }
        return "/" + segments.map(encoded).joined(separator: "/")
            + (pairs.isEmpty ? "" : "?" + pairs.joined(separator: "&"))
    }

    /// Percent-encodes everything but RFC 3986's unreserved characters.
    static func encoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E:
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let hex = String(byte, radix: 16, uppercase: true)
                result += "%\(hex.count == 1 ? "0" : "")\(hex)"
            }
        }
        return result
    }
}
