import Glibc

/// Why a program could not be started or watched.
package struct ProcessError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The closed list of reasons.
    package enum Code: String, Sendable {
        case notFound = "not_found"
        case notExecutable = "not_executable"
        case noSuchDirectory = "no_such_directory"
        case limit
        case invalid
        case other
    }

    package let code: Code
    /// One lower-case clause.
    package let message: String
    /// What to do about it, in a sentence.
    package let hint: String

    init(_ code: Code, _ message: String, hint: String) {
        self.code = code
        self.message = message
        self.hint = hint
    }

    package var description: String { message }

    /// Names an error number as the system does, in lower case.
    static func text(of number: Int32) -> String {
        guard let text = strerror(number) else { return "error \(number)" }
        return String(cString: text).lowercased()
    }

    /// The machinery of this module lacks something that the system is to give.
    static func machinery(_ what: String, _ number: Int32) -> ProcessError {
        ProcessError(
            [EMFILE, ENFILE, EAGAIN, ENOMEM, ENOSPC].contains(number) ? .limit : .other,
            "could not \(what): \(text(of: number))",
            hint: "Look at the limits of open files and processes of this user.")
    }
}
