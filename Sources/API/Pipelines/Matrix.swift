public import Manifests

/// Values for which a job is made once each: lists of values by name, with `include` and `exclude`; or an expression that
/// yields such a map, or a list of cells, when what the job needs has ended.
public struct MatrixSpec: WireValue {
    /// As written.
    public var json: JSONValue
    /// Cells of one job.
    public static let cellLimit = 256
    /// Words of a matrix that are no names of values.
    static let ownWords = ["include", "exclude"]
    /// Words that belong beside a matrix; as names of values they are taken for slips.
    static let wordsBeside = ["fail_fast", "max_parallel"]

    public init(_ json: JSONValue) { self.json = json }

    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        self.json = json
        guard json.string?.contains("${{") != true else { return }
        guard let axes = json.object else { throw .matrix("a matrix is a map or an expression", at: path) }
        for word in Self.wordsBeside where axes[word] != nil {
            throw .matrix("\"\(word)\" is no name of a value", at: path + [word], hint: "Write it beside \"matrix\".")
        }
        guard !isDynamic else { return }
        do { _ = try cells() } catch { throw error.below(path) }
    }

    public static var schema: Schema {
        var text = Schema(type: "string")
        text.title = "expression"
        var map = Schema(type: "object")
        map.title = "matrix"
        map.values = [Schema(type: "any")]
        return .either(text, map)
    }

    /// Whether its cells are known only when the run is under way.
    public var isDynamic: Bool { json.text.contains("${{") }

    /// Its cells, in an order that depends on nothing but what is written.
    ///
    /// The product of the lists, the first varying slowest; without those that `exclude` matches; then each `include`
    /// in turn extends every original cell whose values it does not change, or, when there is none, is a cell of its own
    /// (the rule of GitHub Actions).
    public func cells() throws(ManifestError) -> [Ordered<JSONValue>] {
        if let items = json.array { return try Self.list(items, at: []) }
        guard let members = json.object else { throw .matrix("a matrix is a map or a list of cells", at: []) }
        var product: [Ordered<JSONValue>] = []
        for (name, value) in members where !Self.ownWords.contains(name) {
            guard let values = value.array, !values.isEmpty else {
                throw .matrix("\"\(name)\" must be a list with at least one value", at: [name])
            }
            guard max(1, product.count) * values.count <= Self.productLimit else { throw Self.tooMany }
            product = (product.isEmpty ? [[:]] : product).flatMap { cell in
                values.map { value in
                    var next = cell
                    next[name] = value
                    return next
                }
            }
        }
        for pattern in try Self.list(members["exclude"], at: ["exclude"]) {
            product.removeAll { $0.matches(pattern) }
        }
        let cells = Self.including(try Self.list(members["include"], at: ["include"]), in: product)
        guard cells.count <= Self.cellLimit else { throw Self.tooMany }
        return cells
    }

    /// Cells before `exclude` has taken some away.
    private static let productLimit = 16 * cellLimit

    private static var tooMany: ManifestError {
        .matrix("a matrix has at most \(cellLimit) cells", at: [], hint: "Split it into several jobs.")
    }

    private static func including(
        _ extras: [Ordered<JSONValue>], in product: [Ordered<JSONValue>]
    ) -> [Ordered<JSONValue>] {
        var cells = product
        for extra in extras {
            var isTaken = false
            for index in product.indices where product[index].agrees(with: extra) {
                for (key, value) in extra { cells[index][key] = value }
                isTaken = true
            }
            if !isTaken { cells.append(extra) }
        }
        return cells
    }

    private static func list(_ json: JSONValue?, at path: [String]) throws(ManifestError) -> [Ordered<JSONValue>] {
        guard let json else { return [] }
        guard let items = json.array else {
            throw .matrix("\"\(path.last ?? "matrix")\" must be a list of maps", at: path)
        }
        return try list(items, at: path)
    }

    private static func list(_ items: [JSONValue], at path: [String]) throws(ManifestError) -> [Ordered<JSONValue>] {
        guard items.count <= cellLimit else { throw tooMany }
        var cells: [Ordered<JSONValue>] = []
        for (index, item) in items.enumerated() {
            guard let cell = item.object else {
                throw .matrix("each of them must be a map, not \(item.kindName)", at: path + ["\(index)"])
            }
            cells.append(cell)
        }
        return cells
    }
}

extension Ordered where Value == JSONValue {
    /// Whether all values of the pattern are there; numbers and their text are the same, and 1 is 1.0.
    public func matches(_ pattern: Self) -> Bool {
        pattern.allSatisfy { key, value in self[key].map { $0.isSame(as: value) } ?? false }
    }

    /// Whether no value that both name differs.
    func agrees(with other: Self) -> Bool {
        other.allSatisfy { key, value in self[key].map { $0.isSame(as: value) } ?? true }
    }

    /// "debian12, 6.3": what tells one cell from another.
    public var cellTitle: String {
        let words = values.map { value in value.string ?? value.text }
        let text = words.joined(separator: ", ")
        return text.count > 120 ? text.prefix(120) + "…" : text
    }
}

extension JSONValue {
    /// Equal, the same number, or written alike: 6 and 6.0, 6 and "6".
    func isSame(as other: JSONValue) -> Bool {
        if self == other { return true }
        if case .integer = self, case .integer = other { return false }
        if let one = double, let two = other.double { return one == two }
        guard array == nil, object == nil, other.array == nil, other.object == nil else { return false }
        return (string ?? text) == (other.string ?? other.text)
    }
}

extension ManifestError {
    fileprivate static func matrix(_ message: String, at path: [String], hint: String? = nil) -> ManifestError {
        ManifestError(
            at: path, message: message, hint: hint ?? "Write it like { os: [debian12, ubuntu24], exclude: [{ … }] }.")
    }
}
