import NIOCore
import Synchronization

/// Which arm each of the 10,000 slots of sticky sessions belongs to.
///
/// Arms are ranges of slots in the order of the table, so of two weightings they differ in as few sessions as ranges
/// allow: a canary that stands last and grows from 5 to 25 of 100 takes over the sessions between, and loses none.
struct StickySlots: Sendable {
    static let count = 10_000

    let cookie: [UInt8]?
    /// Around the slot in a Set-Cookie line.
    private let lineStart: [UInt8]
    private let lineEnd: [UInt8]
    private let header: [UInt8]?
    private let entityCookie: [UInt8]?
    private let salt: [UInt8]
    /// The first slot behind each arm.
    private let ends: [Int]
    private let sequence: SlotSequence

    /// nil when no revision has a weight, or the settings make no sense (`complaints`).
    init?(_ sticky: StickySessions, of route: Route, sequence: SlotSequence) {
        let weights = route.revisions.map { max(0, $0.weight) }
        guard sticky.complaints().isEmpty, let ends = Self.ends(weights) else { return nil }
        self.ends = ends
        self.sequence = sequence
        cookie = sticky.cookie.map { Array($0.utf8) }
        header = sticky.by_header.map { Array($0.lowercased().utf8) }
        entityCookie = sticky.by_cookie.map { Array($0.utf8) }
        salt = Array((sticky.salt ?? route.service).utf8)
        let path = String(decoding: CompiledTable.normalised(route.path_prefix), as: UTF8.self)
        lineStart = Array("Set-Cookie: \(sticky.cookie ?? "")=".utf8)
        let life = max(1, sticky.ttl_s ?? Self.defaultLife)
        lineEnd = Array("; Path=\(path.isEmpty ? "/" : path); Max-Age=\(life); HttpOnly; SameSite=Lax\r\n".utf8)
    }

    /// Place of the arm that a request belongs to, and the slot to be kept in a cookie when it has none yet.
    func arm(of head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> (arm: Int, newSlot: Int?) {
        let entity = header.flatMap { head.header($0, bytes) } ?? entityCookie.flatMap { head.cookie($0, bytes) }
        if let entity, !entity.isEmpty { return (arm(ofSlot: slot(of: entity)), nil) }
        guard let cookie else { return (arm(ofSlot: sequence.next()), nil) }
        if let kept = head.cookie(cookie, bytes).flatMap(Bytes.number), kept < Self.count {
            return (arm(ofSlot: kept), nil)
        }
        let slot = sequence.next()
        return (arm(ofSlot: slot), slot)
    }

    /// The header line that keeps a slot.
    func setCookie(_ slot: Int) -> [UInt8] {
        lineStart + Array(String(slot).utf8) + lineEnd
    }

    func arm(ofSlot slot: Int) -> Int {
        ends.firstIndex { slot < $0 } ?? ends.count - 1
    }

    /// FNV-1a over salt and value, then splitmix64's finaliser, since FNV's low bits alone are not even enough.
    private func slot(of entity: UnsafeRawBufferPointer) -> Int {
        var hash = Bytes.hash(Bytes.hash(salt), 0)
        for byte in entity { hash = Bytes.hash(hash, byte) }
        hash = (hash ^ hash >> 30) &* 0xBF58_476D_1CE4_E5B9
        hash = (hash ^ hash >> 27) &* 0x94D0_49BB_1331_11EB
        return Int((hash ^ hash >> 31) % UInt64(Self.count))
    }

    /// Cumulative shares in slots; a positive weight gets a slot at least.
    private static func ends(_ weights: [Int]) -> [Int]? {
        let sum = weights.reduce(0.0) { $0 + Double($1) }
        guard sum > 0 else { return nil }
        var (before, ends) = (0.0, [Int]())
        for weight in weights {
            before += Double(weight)
            let exact = Int((before / sum * Double(count)).rounded())
            ends.append(min(count, max(exact, (ends.last ?? 0) + (weight > 0 ? 1 : 0))))
        }
        return ends
    }

    private static let defaultLife = 3_600
}

/// Gives out slots so that any thousand in a row lie evenly: the digits of a counter, in reverse (van der Corput).
///
/// A thousand neighbours have all endings of three digits, so each block of ten slots gets just one of them: weights
/// in steps of 0.1 % are exact over every 1,000 new sessions.
final class SlotSequence: Sendable {
    private let ticket = Atomic<UInt64>(0)

    func next() -> Int {
        let digits = Int(ticket.wrappingAdd(1, ordering: .relaxed).oldValue % UInt64(StickySlots.count))
        return digits % 10 * 1_000 + digits / 10 % 10 * 100 + digits / 100 % 10 * 10 + digits / 1_000
    }
}
