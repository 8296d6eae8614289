import Crypto
import Manifests
import SQL

/// Where the next page of a search begins: the place of the last row in the search's order, never a count of rows, so that a row
/// that comes or goes meanwhile neither repeats nor hides another.
///
/// A token is signed together with what was asked for, and refused with any other question.
struct PageTokens: Sendable {
    private let key: SymmetricKey
    private static let signatureBytes = 16

    init(key: [UInt8]) { self.key = SymmetricKey(data: key) }

    /// - Parameter question: Whatever must be the same on the next page: filter, order, experiments.
    func make(_ place: [SQLValue], for question: [String]) -> String {
        let body = Array(JSONValue.array(place.map(Self.json)).text.utf8)
        return Base64URL.encode(sign(body, question) + body)
    }

    func read(_ token: String, for question: [String]) throws(MLflowError) -> [SQLValue] {
        let wrong = MLflowError.invalid(
            "Invalid page token: it does not belong to this search. Start at its first page.")
        guard let bytes = Base64URL.decode(token), bytes.count > Self.signatureBytes else { throw wrong }
        let body = Array(bytes[Self.signatureBytes...])
        guard Self.isSame(sign(body, question), Array(bytes[..<Self.signatureBytes])),
            let items = (try? JSONParser.parse(body))?.array  // what is signed was written here
        else { throw wrong }
        return items.map(Self.value)
    }

    /// What proves that the address of a part of an upload was given out here.
    func sign(_ upload: String, _ part: Int) -> String {
        Base64URL.encode(sign(Array("\(part)".utf8), ["upload", upload]))
    }

    func isSigned(_ signature: String, _ upload: String, _ part: Int) -> Bool {
        Self.isSame(Array(sign(upload, part).utf8), Array(signature.utf8))
    }

    /// What proves that the address of a download was given out here; it holds until then (Unix milliseconds).
    func sign(download digest: String, until: Int64) -> String {
        Base64URL.encode(sign(Array("\(until)".utf8), ["download", digest]))
    }

    func isSigned(_ signature: String, download digest: String, until: Int64) -> Bool {
        Self.isSame(Array(sign(download: digest, until: until).utf8), Array(signature.utf8))
    }

    /// Takes as long for a signature that is nearly right as for any other.
    private static func isSame(_ one: [UInt8], _ other: [UInt8]) -> Bool {
        one.count == other.count && zip(one, other).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private func sign(_ body: [UInt8], _ question: [String]) -> [UInt8] {
        var hash = HMAC<SHA256>(key: key)
        for part in question {
            hash.update(data: Array("\(part.utf8.count):".utf8))
            hash.update(data: Array(part.utf8))
        }
        hash.update(data: body)
        return Array(hash.finalize().prefix(Self.signatureBytes))
    }

    private static func json(_ value: SQLValue) -> JSONValue {
        switch value {
        case .null, .blob: .null
        case .integer(let number): .integer(number)
        // Bit for bit, infinities included.
        case .real(let number): ["bits": .string(String(number.bitPattern))]
        case .text(let text): .string(text)
        }
    }

    private static func value(_ json: JSONValue) -> SQLValue {
        switch json {
        case .integer(let number): .integer(number)
        case .string(let text): .text(text)
        case .object: .real(Double(bitPattern: UInt64(json["bits"]?.string ?? "") ?? 0))
        default: .null
        }
    }
}

/// Base64 with the letters that need no escape in an address (RFC 4648, section 5), without padding.
enum Base64URL {
    private static let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var (out, bits, count): ([UInt8], UInt32, Int) = ([], 0, 0)
        out.reserveCapacity(bytes.count * 4 / 3 + 4)
        for byte in bytes {
            bits = bits << 8 | UInt32(byte)
            count += 8
            while count >= 6 {
                count -= 6
                out.append(letters[Int(bits >> UInt32(count) & 63)])
            }
        }
        if count > 0 { out.append(letters[Int(bits << UInt32(6 - count) & 63)]) }
        return String(decoding: out, as: UTF8.self)
    }

    static func decode(_ text: String) -> [UInt8]? {
        var (out, bits, count): ([UInt8], UInt32, Int) = ([], 0, 0)
        for byte in text.utf8 {
            guard let value = letters.firstIndex(of: byte) else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                out.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return out
    }
}
