import Points

/// Names of runs and models that their makers did not name: two words and a number.
enum RunNames {
    private static let kinds = [
        "able", "amber", "ample", "brave", "bright", "brisk", "calm", "clear", "clever", "coral", "crisp", "deft",
        "eager",
        "fair", "fine", "firm", "fleet", "fond", "glad", "golden", "grand", "handy", "hardy", "honest", "jolly", "keen",
        "kind", "lively", "loyal", "lucid", "mellow", "merry", "mild", "neat", "nimble", "noble", "patient", "plain",
        "polite", "prime", "proud", "quick", "quiet", "rapid", "ready", "robust", "serene", "sharp", "silent", "smart",
        "solid", "steady", "stout", "sunny", "swift", "tidy", "vivid", "warm", "wise", "witty",
    ]
    private static let things = [
        "ant", "badger", "bat", "bear", "bee", "bison", "boar", "carp", "cat", "colt", "crab", "crane", "crow", "deer",
        "dove", "duck", "eel", "elk", "ewe", "finch", "fox", "frog", "gnat", "goat", "goose", "grouse", "gull", "hare",
        "hawk", "heron", "hog", "ibex", "jay", "kite", "lark", "loon", "lynx", "mink", "mole", "moth", "mouse", "newt",
        "owl", "perch", "quail", "ram", "rook", "seal", "shrew", "skunk", "slug", "snail", "stag", "stork", "swan",
        "toad",
        "trout", "vole", "wasp", "wren",
    ]

    static func random() -> String {
        let kind = kinds[Int.random(in: kinds.indices)]
        let thing = things[Int.random(in: things.indices)]
        return "\(kind)-\(thing)-\(Int.random(in: 1...999))"
    }

    /// 32 hexadecimal digits that nobody had before.
    static func id() -> String {
        RunID(high: UInt64.random(in: 0...UInt64.max), low: UInt64.random(in: 0...UInt64.max)).description
    }

    /// The same with the dashes of a UUID.
    static func uuid() -> String {
        var left = Substring(id())
        var parts: [Substring] = []
        for length in [8, 4, 4, 4, 12] {
            parts.append(left.prefix(length))
            left = left.dropFirst(length)
        }
        return parts.joined(separator: "-")
    }
}
