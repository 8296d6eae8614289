import API
import ArgumentParser
import Conversion
import Foundation
import Manifests

extension Conversion.Source: ExpressibleByArgument {}

struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert", abstract: "Turns a GitHub workflow or a GitLab CI file into a pipeline.",
        discussion: """
            Examples:
              vagus convert .github/workflows/ci.yml -o .vagus
              vagus convert .gitlab-ci.yml > pipeline.yaml

            The pipeline goes to standard output, or as NAME.yaml into the folder; what could not be said goes to
            standard error, each with its line and why. The exit code is 2 when something was lost.
            """)
    @Argument(help: "The file.") var file: String
    @Option(help: "github or gitlab; absent: told by the file itself.") var from: Conversion.Source?
    @Option(name: .shortAndLong, help: "Folder to write to.") var output: String?
    @Option(help: "Name of the pipeline; absent: what the file says, or the file's own name.") var name: String?

    func run() throws {
        let url = URL(filePath: file)
        let document = try Self.read(file)
        guard let source = from ?? Conversion.source(of: document.value) else {
            throw Problem(
                "convert.source", status: 422, "\"\(file)\" is neither a workflow nor a GitLab CI file",
                hint: "Say what it is: --from github, or --from gitlab.")
        }
        let own = url.deletingPathExtension().lastPathComponent.replacing(".gitlab-ci", with: "ci")
        let converted = try Conversion.convert(document, from: source, name: name ?? own) { path in
            let place = url.deletingLastPathComponent().appending(path: path).path
            return FileManager.default.fileExists(atPath: place) ? try Self.read(place) : nil
        }
        let text = converted.documents.map { "---\n" + $0.yaml }.joined()
        if let output {
            try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
            let called = converted.documents.first?["name"]?.string ?? "pipeline"
            let place = URL(filePath: output).appending(path: "\(called).yaml")
            try Data(text.utf8).write(to: place, options: .atomic)
            Terminal.line("\(place.relativePath)")
        } else {
            Terminal.out(text)
        }
        Terminal.error(Self.report(converted.notes, file: file))
        let lost = converted.notes.count { $0.kind == .lost }
        if lost > 0 {
            throw Ending.Refused(message: "\(lost) part\(lost == 1 ? "" : "s") of \(file) could not be said")
        }
    }

    private static func read(_ path: String) throws -> YAMLDocument {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {  // told just below
            throw Problem(
                "file.unreadable", status: 404, "could not read \"\(path)\"", hint: "Check its path and permissions.")
        }
        let documents = try YAML.documents(Merging.joined(text), file: path)
        // A GitLab file may begin with a document of its inputs.
        guard let document = documents.last(where: { $0.value["spec"] == nil }) ?? documents.last else {
            throw Problem("file.empty", status: 422, "there is nothing in \"\(path)\"")
        }
        return document
    }

    static func report(_ notes: [ConversionNote], file: String) -> String {
        notes.map { note in
            let mark =
                switch note.kind {
                case .lost: Terminal.styled("lost", .red)
                case .changed: Terminal.styled("changed", .yellow)
                case .needless: Terminal.styled("needless", .dim)
                }
            return
                "\(file):\(note.line.map { "\($0)" } ?? "-"): \(mark): \(note.path.joined(separator: ".")): \(note.reason)\n"
        }.joined()
    }
}
