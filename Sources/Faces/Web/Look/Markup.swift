import Mustache

/// A finished piece of HTML or SVG that a template puts in as it is.
///
/// Only this module's own writers make one, and they escape whatever they are given: it is the single
/// way around the escaping of the templates.
struct Markup: Sendable, Equatable, MustacheCustomRenderable {
    let text: String

    init(_ text: String) { self.text = text }

    var renderText: String { text }
    var isNull: Bool { text.isEmpty }
}

/// Escapes text for an HTML or SVG element or a double-quoted attribute.
func escaped(_ text: some StringProtocol) -> String {
    var result = ""
    result.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
        switch scalar {
        case "&": result += "&amp;"
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "\"": result += "&quot;"
        case "'": result += "&#39;"
        // Controls other than tab and line feed are not allowed in HTML text.
        case "\u{0}"..<"\u{9}", "\u{B}"..<"\u{20}", "\u{7F}": result += "\u{FFFD}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}

/// The value of one SVG attribute.
enum SVGValue: ExpressibleByStringLiteral, ExpressibleByStringInterpolation, ExpressibleByFloatLiteral,
    ExpressibleByIntegerLiteral
{
    case text(String)
    case number(Double)

    init(stringLiteral value: String) { self = .text(value) }
    init(floatLiteral value: Double) { self = .number(value) }
    init(integerLiteral value: Int) { self = .number(Double(value)) }

    var written: String {
        switch self {
        case .text(let text): escaped(text)
        case .number(let number): SVG.coordinate(number)
        }
    }
}

/// Writes SVG element by element; every text and attribute is escaped.
struct SVG {
    private(set) var text = ""

    /// A coordinate with at most two decimals; anything not finite is 0, so that no chart breaks on it.
    static func coordinate(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 1e9 else { return "0" }
        let rounded = (value * 100).rounded() / 100
        return rounded == rounded.rounded() ? "\(Int(rounded))" : "\(rounded)"
    }

    typealias Attributes = KeyValuePairs<StaticString, SVGValue>

    mutating func open(_ name: StaticString, _ attributes: Attributes = [:]) {
        text += "<\(name)\(Self.written(attributes))>"
    }

    mutating func close(_ name: StaticString) { text += "</\(name)>" }

    /// An element without children.
    mutating func add(_ name: StaticString, _ attributes: Attributes) {
        text += "<\(name)\(Self.written(attributes))/>"
    }

    /// An element that holds text.
    mutating func add(_ name: StaticString, _ attributes: Attributes = [:], _ body: String) {
        text += "<\(name)\(Self.written(attributes))>\(escaped(body))</\(name)>"
    }

    /// An element with a `<title>`, which browsers without script show on hover.
    mutating func add(_ name: StaticString, _ attributes: Attributes, title: String) {
        text += "<\(name)\(Self.written(attributes))><title>\(escaped(title))</title></\(name)>"
    }

    private static func written(_ attributes: Attributes) -> String {
        attributes.map { " \($0.key)=\"\($0.value.written)\"" }.joined()
    }
}
