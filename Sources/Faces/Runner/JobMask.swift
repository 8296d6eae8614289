import API
import Foundation
import Kernel
import Manifests
import Masking
import Synchronization

/// What is masked of one job: one for its output, its reasons, its outputs, its names.
///
/// Secrets come with the lease, and while it works by `::add-mask::VALUE` in its output.
final class JobMask: Sendable {
    private struct State {
        var set: MaskSet
        /// Counts secrets that came later.
        var version = 0
        var hasGrown = false
    }
    private let state: Mutex<State>
    /// Called when a secret was added that is known to this process alone.
    private let grown: @Sendable () -> Void

    init(secrets: some Sequence<String>, grown: @escaping @Sendable () -> Void = {}) {
        state = Mutex(State(set: MaskSet(secrets: secrets)))
        self.grown = grown
    }
    convenience init(_ lease: Lease, grown: @escaping @Sendable () -> Void) {
        self.init(secrets: lease.secrets.map(\.value) + [lease.token].compactMap { $0 }, grown: grown)
    }

    var set: MaskSet { state.withLock { $0.set } }
    /// What is known now, and whether that is more than at the version before.
    var current: (set: MaskSet, version: Int) { state.withLock { ($0.set, $0.version) } }
    /// Secrets were added that only this process knows.
    var hasGrown: Bool { state.withLock { $0.hasGrown } }

    /// Masks a value from now on that only a step of this process knows.
    func add(_ secret: String) {
        grown()
        state.withLock { $0.hasGrown = true }
        cover(secret)
    }

    /// Masks a value from now on that a later life of the runner will be given anew.
    func cover(_ secret: String) {
        state.withLock { state in
            state.set = state.set.adding(secret)
            state.version += 1
        }
    }

    func mask(_ text: String) -> String { set.mask(text) }
    func covers(_ text: String) -> Bool { set.covers(text) }

    /// The same value with every string masked, names of members too; what is one of fixed words stays.
    func mask<M: Manifest>(_ value: M) throws -> M {
        let set = set
        if set.isEmpty { return value }
        return try M(json: Self.mask(value.json, M.schema, set), at: [])
    }

    /// Members that name things which the server knows already, or content by its digest.
    private static let names: Set<String> = ["run", "stage", "job", "digest", "digests"]

    private static func mask(_ json: JSONValue, _ schema: Schema?, _ set: MaskSet) -> JSONValue {
        switch json {
        case .string(let text): return schema?.cases.contains(text) == true ? json : .string(set.mask(text))
        case .array(let items): return .array(items.map { mask($0, schema?.items.first, set) })
        case .object(let members):
            var masked = Ordered<JSONValue>()
            for (name, value) in members {
                let known = schema?.properties.first { $0.name == name }?.schema
                if known != nil, names.contains(name) {
                    masked[name] = value
                } else {
                    masked[known == nil ? set.mask(name) : name] = mask(value, known ?? schema?.values.first, set)
                }
            }
            return .object(masked)
        default: return json
        }
    }

    /// Takes out outputs that hold a secret: a masked value would be a wrong value.
    ///
    /// Returns the names of what was taken out, masked.
    func withhold(from outputs: inout Ordered<JSONValue>) -> [String] {
        let set = set
        if set.isEmpty { return [] }
        var withheld: [String] = []
        for (name, value) in outputs where set.covers(name) || set.covers(value.string ?? value.text) {
            outputs[name] = nil
            withheld.append(set.mask(name))
        }
        return withheld
    }
}

/// Everything that is told of a job goes this way, whoever tells it.
struct MaskedDoor: ServerDoor {
    let door: any ServerDoor
    let mask: JobMask

    func call<Input: Manifest, Output: Manifest>(_ operation: API.Operation<Input, Output>, _ input: Input) async throws
        -> Output
    {
        try await door.call(operation, try mask.mask(input))
    }
    /// Bytes of output were masked as a stream.
    func append(_ bytes: [UInt8], _ place: OutputInput) async throws -> LeaseState {
        try await door.append(bytes, place)
    }
    func hasBlob(_ digest: String) async throws -> Bool { try await door.hasBlob(digest) }
    func upload(file: String) async throws -> (digest: String, size: Int64) { try await door.upload(file: file) }
    func download(_ digest: String, to path: String) async throws { try await door.download(digest, to: path) }
}

extension StepsWork {
    /// The report without secrets: outputs that hold one are taken out, every word is masked.
    ///
    /// - Parameter isSecretive: Set once this process knows of something that is nowhere written down.
    func tellable(_ report: StepReport, _ later: LaterSteps, _ isSecretive: inout Bool) async throws -> StepReport {
        var told = report
        for name in output.mask.withhold(from: &told.step.outputs) {
            isSecretive = true
            try await output.say("! output \(name) holds a secret: later steps of this job see it, nobody else does")
        }
        if output.mask.hasGrown || output.mask.set.covers(later.json.text) { isSecretive = true }
        return try output.mask.mask(told)
    }
}

extension JobFolder {
    /// Bytes of a step's file that is looked at; a larger one is removed unseen.
    private static let looked = 1 << 20

    /// Removes what steps were given and have told that holds a secret: scripts, outputs, variables, summaries.
    ///
    /// What a step has written into its workspace is its own.
    func forgetSecrets(_ mask: JobMask) {
        let manager = FileManager.default
        let steps = (try? manager.contentsOfDirectory(atPath: folder)) ?? []  // gone: nothing to remove
        for step in steps where step.hasPrefix("step-") {
            let files = (try? manager.contentsOfDirectory(atPath: "\(folder)/\(step)")) ?? []  // no folder: no files
            for file in files {
                let path = "\(folder)/\(step)/\(file)"
                var status = stat()
                guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
                let isLarge = status.st_size > Self.looked
                let data = isLarge ? nil : manager.contents(atPath: path)
                if data.map({ mask.covers(String(decoding: $0, as: UTF8.self)) }) ?? true { unlink(path) }
            }
        }
    }
}

/// Finds lines `::add-mask::VALUE` in a stream, whatever the pieces in which it comes.
///
/// All other bytes go on at once, but for the beginning of a line that may still become one.
struct MaskCommands: Sendable {
    /// The line so far, while it may be a command; nil in the middle of any other line.
    private var line: [UInt8]? = []
    private static let word = Array("::add-mask::".utf8)

    /// Hands over pieces of the stream in order: bytes, or the value of a command instead of its line.
    mutating func feed(_ bytes: [UInt8], bytes take: (ArraySlice<UInt8>) -> Void, secret: (String) -> Void) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let end = rest.newline
            let piece = rest[..<(end.map { $0 + 1 } ?? rest.endIndex)]
            if line == nil {
                take(piece)
            } else {
                let known = line ?? []
                if Self.mayBe(known, piece) {
                    line = known + piece
                    if known.count + piece.count > RunnerLimits.lineBytes || end != nil { finish(take, secret) }
                } else {
                    if !known.isEmpty { take(known[...]) }
                    take(piece)
                    line = nil
                }
            }
            if end != nil { line = [] }
            rest = rest[piece.endIndex...]
        }
    }

    /// The stream has ended: lets go of what is held.
    mutating func flush(bytes take: (ArraySlice<UInt8>) -> Void, secret: (String) -> Void) {
        finish(take, secret)
        line = []
    }

    private mutating func finish(_ take: (ArraySlice<UInt8>) -> Void, _ secret: (String) -> Void) {
        guard let line, !line.isEmpty else { return }
        if line.starts(with: Self.word) {
            var value = line.dropFirst(Self.word.count)
            while let last = value.last, last == 0x0A || last == 0x0D { value.removeLast() }
            secret(Self.plain(String(decoding: value, as: UTF8.self)))
        } else {
            take(line[...])
        }
        self.line = nil
    }

    private static func mayBe(_ known: [UInt8], _ piece: ArraySlice<UInt8>) -> Bool {
        if known.count >= word.count { return true }
        let count = min(word.count - known.count, piece.count)
        return piece.prefix(count).elementsEqual(word[known.count..<known.count + count])
    }

    /// A value of several lines is written with %0A; "%" as %25.
    private static func plain(_ text: String) -> String {
        guard text.contains("%") else { return text }
        return text.replacing("%0A", with: "\n").replacing("%0D", with: "\r").replacing("%25", with: "%")
    }
}
