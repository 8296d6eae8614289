import Foundation

/// Plain text that was sealed: lent for the length of a closure, never copied, wiped when it goes.
package struct Secret: ~Copyable {
    private let bytes: UnsafeMutableRawBufferPointer

    /// Takes a copy of the bytes; the caller wipes its own.
    package init(_ plain: [UInt8]) {
        bytes = .allocate(byteCount: plain.count, alignment: 1)
        bytes.copyBytes(from: plain)
    }

    deinit {
        // A plain loop may be left out by the optimiser: nobody reads what it writes.
        if let start = bytes.baseAddress { explicit_bzero(start, bytes.count) }
        bytes.deallocate()
    }

    /// Its text, for whoever must hand it on; what is made of it is the taker's to guard.
    package var text: String { String(decoding: bytes, as: UTF8.self) }
    package var count: Int { bytes.count }
    /// For anything that prints.
    package var description: String { "‹hidden›" }

    package func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try body(UnsafeRawBufferPointer(bytes))
    }
}

/// Which secret is wanted, and for whom.
package struct SecretAsk: Sendable, Hashable {
    /// Who will have the plain text.
    package enum Use: Sendable, Hashable {
        /// A job, trusted and let into its environment: the secret's own limits are held against it.
        case job(pipeline: String, environment: String?)
        /// A copy of a service: the secret's own limits are held against it.
        case service(name: String, environment: String?)
        /// The server itself, for a signature or a forge: limits of environments and pipelines say nothing of it.
        case server
    }
    package var project: String
    package var name: String
    package var use: Use
    package init(project: String, name: String, for use: Use) {
        (self.project, self.name, self.use) = (project, name, use)
    }
}
