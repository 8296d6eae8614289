import Foundation
import Testing

@testable import Masking

@Suite struct MaskingTests {
    static let secret = #"hunter2/It's "a" <b> & c+d=é\x"#

    /// The stream in pieces that end where `cut` says, one after another.
    private func masked(_ text: String, _ secrets: [String], cuts: [Int]) -> String {
        let bytes = Array(text.utf8)
        var masker = Masker(secrets: secrets)
        var out: [UInt8] = []
        var start = 0
        for cut in cuts + [bytes.count] where cut >= start {
            masker.feed(bytes[start..<min(cut, bytes.count)], into: &out)
            start = min(cut, bytes.count)
        }
        masker.flush(into: &out)
        return String(decoding: out, as: UTF8.self)
    }

    /// What the union of all occurrences leaves, computed the slow way.
    private func expected(_ text: String, _ set: Set<[UInt8]>) -> String {
        let bytes = Array(text.utf8)
        var covered = [Bool](repeating: false, count: bytes.count)
        for start in bytes.indices {
            for form in set where bytes[start...].starts(with: form) {
                for index in start..<start + form.count { covered[index] = true }
            }
        }
        var out: [UInt8] = []
        for index in bytes.indices {
            if !covered[index] { out.append(bytes[index]) }
            if covered[index], index == 0 || !covered[index - 1] { out += Array("***".utf8) }
        }
        return String(decoding: out, as: UTF8.self)
    }

    @Test func `a secret becomes one mask wherever it stands`() {
        let set = MaskSet(secrets: ["abc"])
        #expect(set.mask("abc") == "***")
        #expect(set.mask("xabcx abc") == "x***x ***")
        #expect(set.mask("ab") == "ab")
        #expect(set.mask("") == "")
    }

    @Test func `overlapping and touching secrets become one mask`() {
        let set = MaskSet(secrets: ["abcd", "cdef", "xyz"])
        #expect(set.mask("1abcdef2") == "1***2")
        #expect(set.mask("1abcdxyzabcd2") == "1***2")
        #expect(set.mask("abcd xyz") == "*** ***")
    }

    @Test func `a secret within another, and one that begins like another, are both masked`() {
        let set = MaskSet(secrets: ["abcdefgh", "cde", "abcx"])
        #expect(set.mask("abcdefgh") == "***")
        #expect(set.mask("abcdefgX") == "ab***fgX")
        #expect(set.mask("abcabcxabc") == "abc***abc")
    }

    @Test func `secrets shorter than three bytes are told as not maskable`() {
        let set = MaskSet(secrets: ["ab", "", "abc"])
        #expect(set.unmaskable == 1)
        #expect(set.mask("ab abc") == "ab ***")
        #expect(MaskSet(secrets: ["ab"]).isEmpty)
    }

    @Test func `each line of a secret is masked by itself, short ones and the ends of lines left alone`() {
        let set = MaskSet(secrets: ["-----BEGIN-----\r\n  first line\nab\nlast\n"])
        #expect(set.mask("x\nfirst line\nab\nlast!\n") == "x\n***\nab\n***!\n")
        #expect(set.mask("-----BEGIN-----\r\n  first line\nab\nlast\n!") == "***!")
    }

    @Test func `base64 is masked at each of its offsets, in both alphabets, padded or not`() {
        let secret = "s3cr3t?>~value"
        let set = MaskSet(secrets: [secret])
        for before in ["", "x", "xy", "xyz"] {
            for after in ["", "z", "zz"] {
                let text = Data((before + secret + after).utf8).base64EncodedString()
                for form in [
                    text, text.replacing("=", with: ""), text.replacing("+", with: "-").replacing("/", with: "_"),
                ] {
                    let masked = set.mask(form)
                    #expect(masked.contains("***"), "\(before)|\(after): \(form)")
                    // What is left of it holds bits of its neighbours, and of the secret's first and last byte at most.
                    #expect(masked.replacing("***", with: "").utf8.count <= 14, "\(form) → \(masked)")
                }
            }
        }
        #expect(set.mask(Data(secret.utf8).base64EncodedString()) == "***")
    }

    @Test func `base64 that is broken into lines is masked`() {
        let secret = String((0..<200).map { Character(Unicode.Scalar(UInt8(33 + $0 * 7 % 90))) })
        let text = Data(secret.utf8).base64EncodedString()
        for width in [64, 76] {
            let lines = stride(from: 0, to: text.count, by: width).map { text.dropFirst($0).prefix(width) }
            let masked = MaskSet(secrets: [secret]).mask(lines.joined(separator: "\n"))
            #expect(masked == "***")
        }
    }

    @Test(arguments: [
        #"hunter2%2FIt%27s%20%22a%22%20%3Cb%3E%20%26%20c%2Bd%3D%C3%A9%5Cx"#,
        #"hunter2%2fIt%27s%20%22a%22%20%3cb%3e%20%26%20c%2bd%3d%c3%a9%5cx"#,
        #"hunter2/It%27s%20%22a%22%20%3Cb%3E%20%26%20c%2Bd%3D%C3%A9%5Cx"#,
        #"hunter2%2FIt%27s+%22a%22+%3Cb%3E+%26+c%2Bd%3D%C3%A9%5Cx"#,
        #"hunter2%2FIt's%20%22a%22%20%3Cb%3E%20%26%20c%2Bd%3D%C3%A9%5Cx"#,
    ])
    func `percent-encoding is masked as each encoder writes it`(form: String) {
        #expect(MaskSet(secrets: [Self.secret]).mask("a=\(form)&b") == "a=***&b")
    }

    @Test(arguments: [
        #"hunter2/It's \"a\" <b> & c+d=é\\x"#, #"hunter2\/It's \"a\" <b> & c+d=é\\x"#,
        #"hunter2/It's \"a\" <b> & c+d=\u00e9\\x"#, #"hunter2\/It's \"a\" <b> & c+d=\u00E9\\x"#,
        #"hunter2/It's \"a\" \u003cb\u003e \u0026 c+d=é\\x"#,
        #"hunter2/It\u0027s \u0022a\u0022 \u003Cb\u003E \u0026 c\u002Bd=\u00E9\\x"#,
        #"hunter2/It's \\\"a\\\" <b> & c+d=é\\\\x"#, #"hunter2/It's \\\"a\\\" <b> & c+d=\\u00e9\\\\x"#,
    ])
    func `JSON is masked as each writer escapes it, once or twice`(form: String) {
        #expect(MaskSet(secrets: [Self.secret]).mask("{\"k\":\"\(form)\"}") == "{\"k\":\"***\"}")
    }

    @Test func `a secret of several lines is masked in JSON, where they are one`() {
        let set = MaskSet(secrets: ["first\nsecond\tx"])
        #expect(set.mask(#"{"k":"first\nsecond\tx"}"#) == #"{"k":"***"}"#)
        #expect(set.mask(#"\u0066\u0069\u0072\u0073\u0074\u000a\u0073"#).hasPrefix("***"))
    }

    @Test(arguments: [
        #"hunter2/It's "a" &lt;b&gt; &amp; c+d=é\x"#, #"hunter2/It&apos;s &quot;a&quot; &lt;b&gt; &amp; c+d=é\x"#,
        #"hunter2/It&#39;s &#34;a&#34; &lt;b&gt; &amp; c+d=é\x"#,
        #"hunter2/It&#x27;s &quot;a&quot; &lt;b&gt; &amp; c+d=é\x"#,
    ])
    func `XML and HTML are masked as each writer escapes them`(form: String) {
        #expect(MaskSet(secrets: [Self.secret]).mask("<k>\(form)</k>") == "<k>***</k>")
    }

    @Test(arguments: [
        #"hunter2/It'\''s "a" <b> & c+d=é\x"#, #"hunter2/It'"'"'s "a" <b> & c+d=é\x"#,
        #"hunter2/It's \"a\" <b> & c+d=é\\x"#, #"hunter2/It\'s\ \"a\"\ \<b\>\ \&\ c+d=é\\x"#,
        #"hunter2/It\'s "a" <b> & c+d=\303\251\\x"#, #"hunter2/It\'s "a" <b> & c+d=\xc3\xa9\\x"#,
    ])
    func `shell quoting and literals of languages are masked`(form: String) {
        #expect(MaskSet(secrets: [Self.secret]).mask("echo \(form);") == "echo ***;")
    }

    @Test func `hexadecimal is masked in both cases`() {
        let set = MaskSet(secrets: ["key!Z"])
        for form in ["6b6579215a", "6B6579215A", "6b 65 79 21 5a", "6b:65:79:21:5a", #"\x6b\x65\x79\x21\x5a"#] {
            #expect(set.mask("<\(form)>") == "<***>")
        }
    }

    @Test func `only a possible beginning of a secret is held back`() {
        var masker = Masker(secrets: ["secret"])
        var out: [UInt8] = []
        func seen() -> String { String(decoding: out, as: UTF8.self) }
        masker.feed(Array("all of this, but se".utf8), into: &out)
        #expect(seen() == "all of this, but ")
        masker.feed(Array("a".utf8), into: &out)
        #expect(seen() == "all of this, but sea")
        masker.feed(Array(" secre".utf8), into: &out)
        #expect(seen() == "all of this, but sea ")
        masker.flush(into: &out)
        #expect(seen() == "all of this, but sea secre")
    }

    @Test func `a secret that is learned in the middle of a stream is masked from there on`() {
        var masker = Masker(secrets: ["alpha"])
        var out: [UInt8] = []
        masker.feed(Array("beta gamma alp".utf8), into: &out)
        masker.know(masker.set.adding("alphabet").adding("beta"))
        masker.feed(Array("habet beta alpha!".utf8), into: &out)
        masker.flush(into: &out)
        #expect(String(decoding: out, as: UTF8.self) == "beta gamma *** *** ***!")
    }

    @Test func `every split of a stream in two gives the same`() {
        let secrets = ["abcab", "bca", "cabcabc", "line1\nline2"]
        let text = "xabcabcabxcabcabcyabcab\nline1\nline2 YWJjYWI= line1\\nline2 bc"
        let whole = masked(text, secrets, cuts: [])
        for cut in 0...text.utf8.count { #expect(masked(text, secrets, cuts: [cut]) == whole) }
        #expect(masked(text, secrets, cuts: Array(0...text.utf8.count)) == whole)
        let forms = secrets.reduce(into: Set<[UInt8]>()) { $0.formUnion(Forms.all(of: $1)) }
        #expect(whole == expected(text, forms))
    }

    @Test func `any split of any stream gives the union of all occurrences`() {
        let seed = UInt64.random(in: 0..<UInt64.max)
        var random = SplitMix(state: seed)
        for round in 0..<200 {
            func word(_ count: Int, _ letters: String) -> String {
                String((0..<count).map { _ in Array(letters)[Int(random.next() % UInt64(letters.count))] })
            }
            let letters = ["ab", "ab\n", "abc%\\", "aé\""][round % 4]
            let secrets = (0..<(1 + Int(random.next() % 4))).map { _ in word(3 + Int(random.next() % 5), letters) }
            var text = word(Int(random.next() % 200), letters)
            for secret in secrets where random.next() % 2 == 0 {
                text += secret + Data(secret.utf8).base64EncodedString() + word(3, letters)
            }
            var cuts: [Int] = []
            while let last = cuts.last ?? 0 as Int?, last < text.utf8.count {
                cuts.append(last + Int(random.next() % 9) + 1)
            }
            let forms = secrets.reduce(into: Set<[UInt8]>()) { $0.formUnion(Forms.all(of: $1)) }
            #expect(masked(text, secrets, cuts: cuts) == expected(text, forms), "seed \(seed), round \(round)")
        }
    }

    @Test func `a stream that nearly matches again and again takes time in proportion to its length`() {
        let secret = String(repeating: "a", count: 2000) + "b"
        var masker = Masker(secrets: [secret])
        var out: [UInt8] = []
        let text = [UInt8](repeating: 0x61, count: 400_000)
        masker.feed(text, into: &out)
        masker.flush(into: &out)
        #expect(out == text)
    }
}

/// Sebastiano Vigna's splitmix64: small, and the same everywhere for a seed.
struct SplitMix {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}
