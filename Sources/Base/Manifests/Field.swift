/// One field of a ``Manifest``: its name on the wire, where it is stored, what it means.
public struct Field<Root: Sendable>: Sendable {
    public let name: String
    public let help: String
    public let isRequired: Bool
    /// Made when asked for, since manifests may contain themselves.
    let schema: @Sendable () -> Schema
    /// False when the field is not there.
    let decode: @Sendable (Ordered<JSONValue>, inout Root, [String]) throws(ManifestError) -> Bool
    /// Nil when the value is the default of a field that may be left out.
    let encode: @Sendable (Root) -> JSONValue?
}

extension Field where Root: Manifest {
    /// A field that may be left out; the property's default then stands.
    public static func optional<Value: WireValue>(
        _ name: String, _ path: any WritableKeyPath<Root, Value> & Sendable, _ help: String,
        in range: ClosedRange<Double>? = nil
    ) -> Self {
        make(name, path, help, range: range, isRequired: false, alwaysWritten: false)
    }

    /// A field that must be written.
    public static func required<Value: WireValue>(
        _ name: String, _ path: any WritableKeyPath<Root, Value> & Sendable, _ help: String,
        in range: ClosedRange<Double>? = nil
    ) -> Self {
        make(name, path, help, range: range, isRequired: true, alwaysWritten: true)
    }

    /// A field of an answer: written even when it stands at its default, so that programs can rely on it.
    public static func told<Value: WireValue>(
        _ name: String, _ path: any WritableKeyPath<Root, Value> & Sendable, _ help: String
    ) -> Self {
        make(name, path, help, range: nil, isRequired: false, alwaysWritten: true)
    }

    private static func make<Value: WireValue>(
        _ name: String, _ path: any WritableKeyPath<Root, Value> & Sendable, _ help: String,
        range: ClosedRange<Double>?, isRequired: Bool, alwaysWritten: Bool
    ) -> Self {
        // Once for all: a new root for each field of each value would be most of the work of writing.
        let standard = Root()[keyPath: path]
        return Self(
            name: name, help: help, isRequired: isRequired,
            schema: {
                var schema = Value.schema
                schema.description = help
                schema.range = range
                if !isRequired {
                    let value = standard.json
                    if value != .null, value != .array([]), value != .object([:]), value != .string("") {
                        schema.defaultValue = value
                    }
                }
                return schema
            },
            decode: { (members, root, at) throws(ManifestError) in
                let written = members[name]
                guard let json = written, !json.isNull || isRequired else {
                    guard isRequired else { return written != nil }
                    throw ManifestError(
                        at: at, message: "field \"\(name)\" of a \(Root.noun) is missing",
                        hint: "Add \"\(name):\". \(help)")
                }
                let value: Value
                // Its place is put into words only when something is wrong there.
                do throws(ManifestError) { value = try Value(json: json, at: []) } catch {
                    throw error.below(at + [name])
                }
                if let range, let number = json.double ?? value.json.double, !range.contains(number) {
                    throw ManifestError(
                        at: at + [name], message: "\(json.text) is out of range for \"\(name)\"",
                        hint: "Use a value from \(plain(range.lowerBound)) to \(plain(range.upperBound)).")
                }
                root[keyPath: path] = value
                return true
            },
            encode: { root in
                let value = root[keyPath: path]
                if alwaysWritten { return value.json }
                return value == standard ? nil : value.json
            })
    }
}

/// 3 rather than 3.0.
func plain(_ number: Double) -> String { Int(exactly: number).map(String.init) ?? "\(number)" }
