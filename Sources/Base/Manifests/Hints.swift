/// The name in `names` that is most like `name`, if any is near enough to be a slip of the hand.
public func nearest(to name: String, in names: some Sequence<String>) -> String? {
    names.map { ($0, editDistance(name.lowercased(), $0.lowercased())) }
        .filter { $0.1 <= max(1, name.count / 3) }
        .min { $0.1 < $1.1 }?.0
}

/// "Did you mean …?" when a name is near, else the list of what there is.
public func suggestion(for name: String, among names: [String], called noun: String) -> String {
    if let near = nearest(to: name, in: names) { return "Did you mean \"\(near)\"?" }
    return names.isEmpty ? "There are no \(noun)s here." : "The \(noun)s here are: \(names.joined(separator: ", "))."
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
