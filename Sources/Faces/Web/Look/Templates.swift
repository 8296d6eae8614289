import Mustache

/// The page templates, parsed once.
struct Templates: Sendable {
    private let library: MustacheLibrary

    /// - Throws: When a template in the binary does not parse; a test keeps that from happening.
    init() throws {
        var library = MustacheLibrary()
        for (name, bytes) in Embedded.all where name.hasSuffix(".mustache") {
            // Templates end in a line feed that would else stand between inline parts.
            var text = String(decoding: bytes, as: UTF8.self)
            while text.last == "\n" { text.removeLast() }
            try library.register(text, named: String(name.dropLast(".mustache".count)))
        }
        self.library = library
    }

    func render(_ value: Any, _ template: String) -> String {
        library.render(value, withTemplate: template) ?? ""
    }
}
