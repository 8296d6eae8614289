import API
import Kernel
import Manifests

/// Two versions side by side; pure.
enum Comparison {
    static func difference(
        _ from: ModelVersion, _ to: ModelVersion, files: (from: [ModelFile], to: [ModelFile])
    ) -> ModelDifference {
        var result = ModelDifference()
        (result.from, result.to) = (from, to)
        let schemas = (SchemaReading.schema(of: from.signature), SchemaReading.schema(of: to.signature))
        let forward = SchemaChange.breaks(from: schemas.0, to: schemas.1)
        let back = SchemaChange.breaks(from: schemas.1, to: schemas.0)
        (result.is_backward, result.is_full) = (forward.isEmpty, forward.isEmpty && back.isEmpty)
        result.breaks = forward + back.map { "the other way round, \($0)" }
        result.lines = Difference.lines(from: facts(from, schemas.0), to: facts(to, schemas.1))
        result.files = changes(files.from, files.to)
        return result
    }

    private static func facts(_ version: ModelVersion, _ schema: ModelSchema) -> JSONValue {
        func columns(_ columns: [ModelColumn]) -> JSONValue {
            .object(
                Ordered(
                    columns.map {
                        (
                            $0.name.isEmpty ? "(tensor)" : $0.name,
                            .string($0.type + ($0.is_required ? "" : ", optional"))
                        )
                    }))
        }
        return [
            "format": .string(version.format), "size_bytes": .integer(version.size_bytes),
            "metrics": version.metrics.json, "facts": version.facts.json, "tags": version.tags.json,
            "commit": version.commit.json, "data_digest": version.data_digest.json, "parent": version.parent.json,
            "inputs": columns(schema.inputs), "outputs": columns(schema.outputs),
        ]
    }

    private static func changes(_ old: [ModelFile], _ new: [ModelFile]) -> [String] {
        let before = Dictionary(old.map { ($0.path, $0.digest) }, uniquingKeysWith: { first, _ in first })
        let after = Dictionary(new.map { ($0.path, $0.digest) }, uniquingKeysWith: { first, _ in first })
        return Set(before.keys).union(after.keys).sorted().compactMap { path -> String? in
            switch (before[path], after[path]) {
            case (nil, _): "+ \(path)"
            case (_, nil): "- \(path)"
            case let (one, other): one == other ? nil : "~ \(path)"
            }
        }
    }
}
