/// The name in `names` that is most like `name`, if any is near enough to be a slip of the hand.
public func nearest(to name: String, in names: some Sequence<String>) -> String? {
    names.map { ($0, editDistance(name.lowercased(), $0.lowercased())) }
        .filter { $0.1 <= max(1, name.count / 3) }
        .min { $0.1 < $1.1 }?.0
}

/// "Did you mean …?" when a name is near, else the list of what there is.
public func suggestion(for name: String, among names: [String], called noun: String) -> String {
    if let near = nearest(to: name, in: names) { return "Did you mean \"\(near)\"?" }
    let many = plural(of: noun)
    return names.isEmpty ? "There are no \(many) here." : "The \(many) here are: \(names.joined(separator: ", "))."
}

/// Several of a thing: "jobs", "aliases", "analyses"; of "column of the file" it is the first word that changes.
func plural(of noun: String) -> String {
    var words = noun.split(separator: " ").map(String.init)
    guard let first = words.first else { return noun }
    if first.hasSuffix("sis") {
        words[0] = String(first.dropLast(2)) + "es"
    } else {
        words[0] += first.hasSuffix("s") ? "es" : "s"
    }
    return words.joined(separator: " ")
}

/// Edits (insert, remove, replace, swap of neighbours) between two words (Damerau 1964, restricted).
func editDistance(_ first: String, _ second: String) -> Int {
    let a = Array(first)
    let b = Array(second)
    guard !a.isEmpty, !b.isEmpty else { return max(a.count, b.count) }
    var table = Array(repeating: Array(repeating: 0, count: b.count + 1), count: a.count + 1)
    for i in 0...a.count { table[i][0] = i }
    for j in 0...b.count { table[0][j] = j }
    for i in 1...a.count {
        for j in 1...b.count {
            let cost = a[i - 1] == b[j - 1] ? 0 : 1
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + cost)
            if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
            }
        }
    }
    return table[a.count][b.count]
}
