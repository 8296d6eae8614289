internal import CLinux

/// Finding a piece of text in many lines at once.
package enum TextSearch {
    /// Where the needle begins at or after `from`; nil when it does not occur.
    package static func find(_ needle: [UInt8], in text: UnsafeRawBufferPointer, from: Int = 0) -> Int? {
        guard from >= 0, from < text.count, let base = text.baseAddress,
            let found = memmem(base + from, text.count - from, needle, needle.count)
        else { return needle.isEmpty ? 0 : nil }
        return UnsafeRawPointer(found) - base
    }
}
