/// Where an array or object came from: the context and the way into it, or the call that made it.
///
/// GitHub compares arrays and objects by identity; values have none here, but two of the same origin are the same one.
struct Origin: Equatable {
    let root: String
    var keys: [String] = []

    subscript(key: String) -> Origin { Origin(root: root, keys: keys + [key]) }
}

extension Value {
    /// The member of that name, or the item at that index, with its own key; nil when there is none.
    func element(_ key: Value) -> (key: String, value: Value)? {
        guard key.isPrimitive else { return nil }
        guard case .array(let items) = self else {
            guard let name = self.key(of: key.text), let value = member(name) else { return nil }
            return (name, value)
        }
        let number = key.number.rounded(.down)
        guard number >= 0, number < Double(items.count) else { return nil }
        return (String(Int(number)), items[Int(number)])
    }
}
