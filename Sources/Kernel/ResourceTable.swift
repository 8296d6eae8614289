package import API
package import Manifests
package import SQL

/// Declared things, typed: reading by anyone, writing only inside a ``Change``.
extension Connection {
    /// The resource, or nil.
    package func resource<K: Kind>(_ kind: K.Type, _ reference: Reference<K>) throws -> TypedResource<K>? {
        try resource(kind: K.name, project: reference.project, name: reference.name).map { try TypedResource($0) }
    }

    /// All of one kind, by project and name; of one project when it is given.
    package func resources<K: Kind>(_ kind: K.Type, project: String? = nil) throws -> [TypedResource<K>] {
        try resources(kind: K.name, project: project).map { try TypedResource($0) }
    }

    /// The same without those that this version of ours cannot read any more: one must not hold up the others.
    package func readableResources<K: Kind>(_ kind: K.Type, project: String) throws -> [TypedResource<K>] {
        try resources(kind: K.name, project: project).compactMap { try? TypedResource($0) }  // its own page tells why
    }

    package func resource(kind: String, project: String, name: String) throws -> Resource? {
        try row("SELECT * FROM resource WHERE project = \(project) AND kind = \(kind) AND name = \(name)")
            .map(Resource.init(row:))
    }

    package func resources(kind: String, project: String? = nil) throws -> [Resource] {
        let scope: Statement = project.map { "AND project = \($0)" } ?? ""
        return try rows("SELECT * FROM resource WHERE kind = \(kind) \(scope) ORDER BY project, name")
            .map(Resource.init(row:))
    }
}

/// A resource whose spec and status have been read.
package struct TypedResource<K: Kind>: Sendable {
    package var reference: Reference<K>
    package var generation: Int
    package var labels: Ordered<String>
    package var spec: K.Spec
    package var status: K.Status?
    package var conditions: [Condition]
    package var updatedAt: Timestamp

    package init(_ resource: Resource) throws {
        reference = Reference(project: resource.project, name: resource.name)
        generation = resource.generation
        labels = resource.labels
        spec = try K.Spec(json: resource.spec, at: [])
        status = try resource.status.map { try K.Status(json: $0, at: []) }
        conditions = resource.conditions
        updatedAt = resource.updated_at
    }
}

extension Reference {
    package var subject: Subject { Subject(kind: K.name, project: project, name: name) }
}

extension Resource {
    package init(row: Row) throws {
        self.init()
        kind = try row.get("kind")
        project = try row.get("project")
        name = try row.get("name")
        generation = try row.get("generation")
        labels = try Ordered<String>(json: JSONParser.parse(try row.get("labels", as: String.self)), at: [])
        spec = try JSONParser.parse(try row.get("spec", as: String.self))
        status = try row.get("status", as: String?.self).map { try JSONParser.parse($0) }
        conditions = try [Condition](json: JSONParser.parse(try row.get("conditions", as: String.self)), at: [])
        created_at = Timestamp(microseconds: try row.get("created_at"))
        updated_at = Timestamp(microseconds: try row.get("updated_at"))
    }
}

extension Change {
    /// Makes what is wanted so; tells "service.created" or "service.changed" when that is news.
    package func put(_ wanted: Resource) throws -> Applied {
        let before = try sql.resource(kind: wanted.kind, project: wanted.project, name: wanted.name)
        var applied = Applied()
        (applied.kind, applied.project, applied.name) = (wanted.kind, wanted.project, wanted.name)
        guard before?.spec != wanted.spec || before?.labels != wanted.labels else {
            applied.generation = before?.generation ?? 0
            return applied
        }
        applied.change = before == nil ? .created : .changed
        applied.generation = (before?.generation ?? 0) + 1
        applied.difference = Difference.lines(from: before?.spec ?? [:], to: wanted.spec)
        try sql.run(
            """
            INSERT INTO resource (project, kind, name, generation, labels, spec, conditions, created_at, updated_at)
            VALUES (\(wanted.project), \(wanted.kind), \(wanted.name), \(applied.generation),
                    \(wanted.labels.json.text), \(wanted.spec.text), '[]', \(now.microseconds), \(now.microseconds))
            ON CONFLICT (project, kind, name) DO UPDATE SET generation = excluded.generation,
                labels = excluded.labels, spec = excluded.spec, updated_at = excluded.updated_at
            """)
        let subject = Subject(kind: wanted.kind, project: wanted.project, name: wanted.name)
        try tell(
            "\(wanted.kind.lowercased()).\(applied.change.rawValue)", about: subject,
            [
                "generation": .integer(Int64(applied.generation)),
                "difference": .array(applied.difference.prefix(20).map(JSONValue.string)),
            ])
        return applied
    }

    /// Writes what is. No event: a domain tells those changes that mean something.
    package func setStatus<K: Kind>(_ status: K.Status, of reference: Reference<K>, conditions: [Condition]? = nil)
        throws
    {
        let (status, conditions) = (status.json.text, conditions.map { $0.json.text })
        // Told as news only when it is: a loop that writes what stands there already would wake itself for ever.
        let isNews = try sql.row(
            """
            UPDATE resource SET status = \(status), conditions = coalesce(\(conditions.sqlValue), conditions)
            WHERE project = \(reference.project) AND kind = \(K.name) AND name = \(reference.name)
                AND (status IS DISTINCT FROM \(status)
                    OR conditions IS DISTINCT FROM coalesce(\(conditions.sqlValue), conditions))
            RETURNING name
            """)
        guard isNews != nil else { return }
        ring(K.name)
        ring("\(K.name)/\(reference.name)")
    }

    package func remove(_ resource: Resource) throws {
        try sql.run(
            """
            DELETE FROM resource WHERE project = \(resource.project) AND kind = \(resource.kind)
                AND name = \(resource.name)
            """)
        try tell(
            "\(resource.kind.lowercased()).deleted",
            about: Subject(kind: resource.kind, project: resource.project, name: resource.name))
    }
}

/// What changed between two specs, a line for each field.
package enum Difference {
    package static func lines(from old: JSONValue, to new: JSONValue, at path: String = "") -> [String] {
        if case .object(let before) = old, case .object(let after) = new {
            let keys = before.keys + after.keys.filter { before[$0] == nil }
            return keys.flatMap { key -> [String] in
                let place = path.isEmpty ? key : "\(path).\(key)"
                switch (before[key], after[key]) {
                case (let left?, let right?): return lines(from: left, to: right, at: place)
                case (let left?, nil): return ["\(place): \(short(left)) → (default)"]
                case (nil, let right?): return ["\(place): \(short(right))"]
                case (nil, nil): return []
                }
            }
        }
        return old == new ? [] : ["\(path): \(short(old)) → \(short(new))"]
    }

    /// Characters of a value that are shown.
    private static let shown = 120

    private static func short(_ value: JSONValue) -> String {
        var bytes: [UInt8] = []
        write(value, to: &bytes)
        let text = String(decoding: bytes, as: UTF8.self)
        return text.count > shown ? text.prefix(shown - 1) + "…" : text
    }

    /// Writes no more of a value than can be shown: a character has at most so many bytes, or is cut.
    private static func write(_ value: JSONValue, to bytes: inout [UInt8]) {
        let limit = shown * 16
        guard case .array(let items) = value else {
            guard case .object(let members) = value else { return value.write(to: &bytes, indent: nil) }
            for (place, (key, member)) in members.enumerated() where bytes.count < limit {
                bytes.append(UInt8(ascii: place == 0 ? "{" : ","))
                JSONValue.write(key, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                write(member, to: &bytes)
            }
            return bytes.append(contentsOf: (members.isEmpty ? "{}" : "}").utf8)
        }
        for (place, item) in items.enumerated() where bytes.count < limit {
            bytes.append(UInt8(ascii: place == 0 ? "[" : ","))
            write(item, to: &bytes)
        }
        bytes.append(contentsOf: (items.isEmpty ? "[]" : "]").utf8)
    }
}
