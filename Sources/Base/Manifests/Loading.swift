extension Manifest {
    /// Reads one value from YAML text; the errors carry line and column.
    public init(yaml text: String, file: String? = nil) throws(ManifestError) {
        guard let document = try YAML.documents(text, file: file).first else {
            throw ManifestError(at: [], message: "the file is empty", file: file)
        }
        do {
            try self.init(json: document.value, at: [])
        } catch {
            throw document.placing(error)
        }
    }

    /// Reads one value from JSON text.
    public init(jsonText: some Sequence<UInt8>) throws(ManifestError) {
        try self.init(json: JSONParser.parse(Array(jsonText)), at: [])
    }
}
