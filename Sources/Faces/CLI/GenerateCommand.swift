import API
import ArgumentParser
import Foundation
import Manifests
import Server

/// `make generate`: writes what is derived from the code into docs/.
struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Writes schemas, OpenAPI and reference pages into a folder.",
        shouldDisplay: false)
    @Argument(help: "The docs folder.") var folder: String

    func run() throws {
        for (path, text) in Generated.files() {
            let place = URL(filePath: folder).appending(path: path)
            try FileManager.default.createDirectory(
                at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: place, options: .atomic)
        }
    }
}

/// Everything that is derived: path in docs/ and content. A test compares it with what is committed.
package enum Generated {
    package static func files() -> [(path: String, text: String)] {
        var files: [(path: String, text: String)] = [("openapi.json", openAPI().prettyText + "\n")]
        for kind in Kinds.all {
            files.append(("schemas/\(kind.name.lowercased()).json", KindSchema.json(kind).prettyText + "\n"))
            files.append(("reference/kinds/\(kind.plural).md", reference(kind)))
        }
        files.append(("reference/api.md", operations()))
        return files
    }

    private static let note = "<!-- Made by `make generate`; do not edit. -->\n\n"

    private static func reference(_ kind: any Kind.Type) -> String {
        var out = note + "# \(kind.name)\n\n\(kind.summary)\n\n"
        section(Explanation.specSchema(kind), heading: kind.name, depth: 0, into: &out)
        return out
    }

    private static func section(_ schema: Schema, heading: String, depth: Int, into out: inout String) {
        guard depth < 6 else { return }
        if depth > 0 { out += "\n## `\(heading)`\n\n" }
        if !schema.exactlyOne.isEmpty {
            out += "Exactly one of: \(schema.exactlyOne.map { "`\($0)`" }.joined(separator: ", ")).\n\n"
        }
        out += "| field | type | default | meaning |\n| --- | --- | --- | --- |\n"
        for (name, field) in schema.properties {
            let value = schema.required.contains(name) ? "required" : field.defaultValue.map { "`\($0.text)`" } ?? ""
            let type = field.shortType.replacing("|", with: "\\|")
            out +=
                "| `\(name)` | \(type) | \(value.replacing("|", with: "\\|")) | \((field.description ?? "").replacing("|", with: "\\|")) |\n"
        }
        for (name, field) in schema.properties {
            let inner = field.items.first ?? field.values.first ?? field
            if !inner.properties.isEmpty { section(inner, heading: "\(heading).\(name)", depth: depth + 1, into: &out) }
        }
    }

    private static func operations() -> String {
        var out = note + "# API\n\n| operation | request | needs | what it does |\n| --- | --- | --- | --- |\n"
        for operation in Operations.all {
            out +=
                "| `\(operation.name)` | `\(operation.method.rawValue) \(operation.path)` | \(operation.permission.rawValue) | \(operation.summary) |\n"
        }
        out += """
            | – | `GET /api/v1/events?after=N` | read | Streams events as server-sent events, those of the past first. |
            | – | `POST /api/v1/blobs` | write or agent | Stores content; answers its digest. |
            | – | `GET /api/v1/blobs/{digest}` | read | Returns content. |
            | – | `GET /-/ready` | – | 200 when the server serves. |

            """
        return out
    }

    private static func openAPI() -> JSONValue {
        var paths = Ordered<JSONValue>()
        for operation in Operations.all {
            var methods = paths[operation.path]?.object ?? [:]
            methods[operation.method.rawValue.lowercased()] = describe(operation)
            paths[operation.path] = .object(methods)
        }
        return [
            "openapi": "3.1.0",
            "info": [
                "title": "Vagus", "version": .string(vagusVersion),
                "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
            ],
            "security": [["bearer": []]],
            "paths": .object(paths),
            "components": [
                "securitySchemes": ["bearer": ["type": "http", "scheme": "bearer"]],
                "schemas": ["Problem": Problem.schema.json],
            ],
        ]
    }

    private static func describe(_ operation: AnyOperation) -> JSONValue {
        let input = operation.input()
        let inPath = operation.path.split(separator: "/").filter { $0.hasPrefix("{") }.map {
            String($0.dropFirst().dropLast())
        }
        let isQuery = operation.method == .get || operation.method == .delete
        var parameters: [JSONValue] = []
        var body = input
        for (name, schema) in input.properties where inPath.contains(name) || isQuery {
            parameters.append([
                "name": .string(name), "in": inPath.contains(name) ? "path" : "query",
                "required": .bool(inPath.contains(name) || input.required.contains(name)), "schema": schema.json,
            ])
        }
        body.properties.removeAll { inPath.contains($0.name) }
        body.required.removeAll { inPath.contains($0) }
        var out: Ordered<JSONValue> = [
            "operationId": .string(operation.name), "summary": .string(operation.summary),
            "x-permission": .string(operation.permission.rawValue), "parameters": .array(parameters),
        ]
        if !isQuery { out["requestBody"] = ["content": ["application/json": ["schema": body.json]]] }
        out["responses"] = [
            "200": ["description": "Done.", "content": ["application/json": ["schema": operation.output().json]]],
            "default": [
                "description": "A problem (RFC 9457).",
                "content": ["application/problem+json": ["schema": ["$ref": "#/components/schemas/Problem"]]],
            ],
        ]
        return .object(out)
    }
}
