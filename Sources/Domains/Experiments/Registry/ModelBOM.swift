import API
import Blobs
import Manifests

/// A bill of materials of one version: CycloneDX 1.6, with a model card (only `machine-learning-model` may have one).
enum ModelBOM {
    /// The same version gives the same bytes.
    static func document(_ version: ModelVersion, _ files: [ModelFile], title: String) -> JSONValue {
        let reference = "model:\(version.project)/\(version.model)@\(version.version)"
        var component: Ordered<JSONValue> = [
            "type": "machine-learning-model", "bom-ref": .string(reference), "name": .string(title),
            "version": .string(version.label ?? "\(version.version)"),
        ]
        if let description = version.description, !description.isEmpty {
            component["description"] = .string(description)
        }
        component["hashes"] = [["alg": "SHA-256", "content": .string(ModelSigning.root(files))]]
        component["modelCard"] = card(version)
        component["properties"] = properties(version)
        let parts: [JSONValue] = files.prefix(fileLimit).map { file -> JSONValue in
            [
                "type": "file", "bom-ref": .string("\(reference)#\(file.path)"), "name": .string(file.path),
                "hashes": [["alg": "SHA-256", "content": .string(Digest(file.digest)?.hex ?? "")]],
            ]
        }
        let data: [JSONValue] = version.data_digest.flatMap { Self.data(digest: $0) }.map { [$0] } ?? []
        let needs: [JSONValue] = (parts + data).compactMap { $0["bom-ref"] }
        return [
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", "bomFormat": "CycloneDX",
            "specVersion": "1.6", "serialNumber": .string(serial(version)), "version": 1,
            "metadata": [
                "timestamp": .string(version.created_at.description), "component": .object(component),
                "tools": ["components": [["type": "application", "name": "vagus"]]],
            ],
            "components": .array(parts + data),
            "dependencies": [["ref": .string(reference), "dependsOn": .array(needs)]],
        ]
    }

    /// Files told one by one.
    static let fileLimit = 5_000

    private static func data(digest: String) -> JSONValue? {
        let hex = digest.hasPrefix("sha256:") ? String(digest.dropFirst(7)) : digest
        guard Digest(hex: hex) != nil else { return nil }
        return [
            "type": "data", "bom-ref": .string("data:\(hex)"), "name": "training data",
            "hashes": [["alg": "SHA-256", "content": .string(hex)]],
        ]
    }

    private static func card(_ version: ModelVersion) -> JSONValue {
        let schema = SchemaReading.schema(of: version.signature)
        var parameters: Ordered<JSONValue> = ["approach": ["type": "supervised"]]
        if let family = version.facts["algorithm"]?.string ?? (version.format.isEmpty ? nil : version.format) {
            parameters["architectureFamily"] = .string(family)
        }
        if let digest = version.data_digest, let data = Self.data(digest: digest), let reference = data["bom-ref"] {
            parameters["datasets"] = [["ref": reference]]
        }
        func formats(_ columns: [ModelColumn]) -> JSONValue {
            .array(columns.map { ["format": .string($0.name.isEmpty ? $0.type : "\($0.name): \($0.type)")] })
        }
        if !schema.inputs.isEmpty { parameters["inputs"] = formats(schema.inputs) }
        if !schema.outputs.isEmpty { parameters["outputs"] = formats(schema.outputs) }
        var card: Ordered<JSONValue> = ["modelParameters": .object(parameters)]
        let metrics = version.metrics.map { name, value -> JSONValue in
            ["type": .string(name), "value": .string("\(value)")]
        }
        if !metrics.isEmpty { card["quantitativeAnalysis"] = ["performanceMetrics": .array(metrics)] }
        return .object(card)
    }

    private static func properties(_ version: ModelVersion) -> JSONValue {
        let facts: [(String, String?)] = [
            ("vagus:project", version.project), ("vagus:model", version.model), ("vagus:version", "\(version.version)"),
            ("vagus:digest", version.digest), ("vagus:run", version.run), ("vagus:commit", version.commit),
            ("vagus:parent", version.parent), ("vagus:format", version.format),
        ]
        return .array(
            facts.compactMap { name, value in
                value.flatMap { $0.isEmpty ? nil : ["name": .string(name), "value": .string($0)] }
            })
    }

    /// A UUID (RFC 9562 version 8) made of what names the version.
    private static func serial(_ version: ModelVersion) -> String {
        let words = "\(version.project)/\(version.model)@\(version.version)/\(version.digest)"
        var digits = Array(Digest(of: Array(words.utf8)).hex.prefix(32))
        (digits[12], digits[16]) = ("8", "8")
        let ends = [8, 12, 16, 20, 32]
        var start = 0
        let parts = ends.map { end in
            defer { start = end }
            return String(digits[start..<end])
        }
        return "urn:uuid:" + parts.joined(separator: "-")
    }
}
