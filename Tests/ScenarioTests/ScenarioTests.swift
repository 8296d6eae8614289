import API
import Foundation
import Kernel
import Logging
import Manifests
import Testing

@testable import Server

/// The whole house, assembled as the program assembles it.
@Suite struct ScenarioTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private func house() async throws -> House {
        let folder = NSTemporaryDirectory() + "vagus-scenario-\(UUID().uuidString)"
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return try await House(ServerOptions(data: folder, executable: "/bin/false") { _ in }, logger: logger)
    }

    @Test func `every operation that is told of is answered by a room`() async throws {
        let house = try await house()
        let answered = house.switchboard.operations
        let missing = Operations.all.map(\.name).filter { !answered.contains($0) }
        #expect(missing.isEmpty)
    }

    @Test func `every manifest in examples is accepted by every room`() async throws {
        let house = try await house()
        var input = ApplyInput()
        for place in try FileManager.default.subpathsOfDirectory(atPath: Self.root.path + "/examples").sorted()
        where place.hasSuffix(".yaml") {
            let text = try String(contentsOf: Self.root.appending(path: "examples/\(place)"), encoding: .utf8)
            input.documents += try YAML.documents(text, file: place).map(\.value)
        }
        #expect(input.documents.count >= 8)
        let outcome = try await house.switchboard.call(Resources.apply, input, as: .system("test"))
        #expect(outcome.items.allSatisfy { $0.change == .created })
    }
}
