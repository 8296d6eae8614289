/// Whether bytes are UTF-8. Nearly all text on these wires is ASCII, which is looked at eight bytes at a time.
@inline(__always)
package func isValidUTF8(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    let raw = UnsafeRawBufferPointer(bytes)
    var (index, seen) = (0, UInt64(0))
    while bytes.count - index >= 8 {
        seen |= raw.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        index += 8
    }
    if bytes.count >= 8 {
        // The last eight, some of them for the second time.
        seen |= raw.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt64.self)
    } else {
        while index < bytes.count {
            seen |= UInt64(bytes[index])
            index += 1
        }
    }
    return seen & 0x8080_8080_8080_8080 == 0 || isValidBeyondASCII(bytes)
}

private func isValidBeyondASCII(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    String(validating: bytes, as: UTF8.self) != nil
}
