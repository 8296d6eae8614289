// Masking: secrets taken out of bytes on their way to where people look.
//
// What comes in: the secrets, and a stream in pieces of any size. What goes out: the same stream with every secret, in
// every form it is commonly written in, replaced by ``Masking/mask``.
//
// Forms       a secret as text → all the ways it may stand in a log (base64, percent, JSON, XML, shell, hex, …)
// MaskSet     the forms as one automaton (Aho–Corasick), made once, shared by all who mask
// Masker      one stream: its place in the automaton, and the bytes that may yet turn out to begin a secret
//
// What is covered is the union of all occurrences: overlapping and touching ones become one mask. That union depends on
// the stream alone, so the pieces in which it comes make no difference.

/// Constants of masking.
public enum Masking {
    /// What stands where a secret was.
    public static let mask = "***"
    /// Shorter secrets, and shorter lines of secrets, are not masked: they stand in every other word.
    public static let shortest = 3
    /// A longer secret is known as it is, by its lines, and in no other form: its forms would fill the memory.
    public static let longestInAllForms = 16 << 10
}
