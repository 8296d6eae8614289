import Blobs
import Foundation
import Testing

struct DigestTests {
    @Test func `digests are those of the standard`() {
        // FIPS 180-2, appendix B.1, and the hash of nothing.
        #expect(Digest(of: Array("abc".utf8)).hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(Digest(of: []).hex == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }

    @Test func `the wire text is read back, and nothing else`() throws {
        let digest = Digest(of: [1, 2, 3])
        let json = try JSONEncoder().encode([digest])
        #expect(String(decoding: json, as: UTF8.self) == "[\"sha256:\(digest.hex)\"]")
        #expect(try JSONDecoder().decode([Digest].self, from: json) == [digest])
        for wrong in [digest.hex, "sha256:", "sha256:\(digest.hex)0", "sha256:\(digest.hex.uppercased())", "md5:00"] {
            #expect(Digest(wrong) == nil)
        }
        #expect(Digest(hex: "../../../../../../../../../../../../../../../../../../../etc/passw") == nil)
    }
}
