#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// One field of a ``Manifest``: its name on the wire, where it is stored, what it means.
///
/// A class, as it is handed around for each field of each value that is read or written, and holds a dozen things.
public final class Field<Root: Sendable>: Sendable {
    public let name: String
    public let help: String
    public let isRequired: Bool
    /// Made when asked for, since manifests may contain themselves.
    let schema: @Sendable () -> Schema
    /// Of what is written there, if anything; false when the field is not there.
    let decode: @Sendable (JSONValue?, inout Root, [String]) throws(ManifestError) -> Bool
    /// Nil when the value is the default of a field that may be left out.
    let encode: @Sendable (Root) -> JSONValue?
    /// Nil when its value is written always, or is not stored in the root itself.
    let standard: StandardBytes?

    init(
        name: String, help: String, isRequired: Bool, schema: @escaping @Sendable () -> Schema,
        decode: @escaping @Sendable (JSONValue?, inout Root, [String]) throws(ManifestError) -> Bool,
        encode: @escaping @Sendable (Root) -> JSONValue?, standard: StandardBytes?
    ) {
        (self.name, self.help, self.isRequired, self.standard) = (name, help, isRequired, standard)
        (self.schema, self.decode, self.encode) = (schema, decode, encode)
    }
}

/// How a stored property looks while it stands at its default.
///
/// Most fields of most values do, and to compare them as what they are takes far longer than to compare their bytes. Bytes that
/// differ mean nothing; equal ones are equal values, since what the default refers to is kept, and so is at no other's address.
final class StandardBytes: Sendable {
    private let offset: Int
    private let bytes: [UInt8]
    private let kept: any Sendable

    init?<Root: Sendable, Value>(_ path: WritableKeyPath<Root, Value>, of root: Root) {
        guard let offset = MemoryLayout<Root>.offset(of: path) else { return nil }
        (self.offset, kept) = (offset, root)
        bytes = withUnsafeBytes(of: root) { Array($0[offset..<offset + MemoryLayout<Value>.size]) }
    }

    /// - Parameter root: The bytes of a value of the type that this was made of.
    func stand(in root: UnsafeRawBufferPointer) -> Bool {
        guard let start = root.baseAddress, offset + bytes.count <= root.count else { return false }
        return bytes.withUnsafeBytes { mine in
            mine.baseAddress.map { memcmp(start + offset, $0, mine.count) == 0 } ?? true
        }
    }
}

extension Field where Root: Manifest {
    /// A field that may be left out; the property's default then stands.
    public static func optional<Value: WireValue>(
        _ name: String, _ path: any WritableKeyPath<Root, Value> & Sendable, _ help: String,
        in range: ClosedRange<Double>? = nil
    ) -> Field {
        make(name, path, help, range: range, isRequired: false, alwaysWritten: false)
    }

    /// A field that must be written.
    public static func required<Value: WireValue>(
        _ name: String, _ path: any WritableKeyPath<Root, Value> & Sendable, _ help: String,
        in range: ClosedRange<Double>? = nil
    ) -> Field {
        make(name, path, help, range: range, isRequired: true, alwaysWritten: true)
    }

    /// A field of an answer: written even when it stands at its default, so that programs can rely on it.
    public static func told<Value: WireValue>(
        _ name: String, _ path: any WritableKeyPath<Root, Value> & Sendable, _ help: String
    ) -> Field {
        make(name, path, help, range: nil, isRequired: false, alwaysWritten: true)
    }

    private static func make<Value: WireValue>(
        _ name: String, _ path: any WritableKeyPath<Root, Value> & Sendable, _ help: String,
        range: ClosedRange<Double>?, isRequired: Bool, alwaysWritten: Bool
    ) -> Field {
        // Once for all: a new root for each field of each value would be most of the work of writing.
        let rest = Root()
        let standard = rest[keyPath: path]
        return Field(
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
            decode: { (written, root, at) throws(ManifestError) in
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
            },
            standard: alwaysWritten ? nil : StandardBytes(path as WritableKeyPath<Root, Value>, of: rest))
    }

    /// The same field, whose value is kept in a stored property that has another form: while that one stands at its default, so
    /// does this.
    public func kept<Value>(in path: WritableKeyPath<Root, Value>) -> Field {
        Field(
            name: name, help: help, isRequired: isRequired, schema: schema, decode: decode, encode: encode,
            standard: StandardBytes(path, of: Root()))
    }
}

/// 3 rather than 3.0.
func plain(_ number: Double) -> String { Int(exactly: number).map(String.init) ?? "\(number)" }
