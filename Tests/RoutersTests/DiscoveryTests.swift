import Foundation
import Manifests
import Proxy
import Testing
import Wire

@testable import Routers

@Suite struct DiscoveryTests {
    private static let sets: [ResourceKind: ResourceSet] = [
        .clusters: ResourceSet(version: "1", resources: ["a": [1], "b": [2]]),
        .endpoints: ResourceSet(version: "1", resources: ["a": [3], "b": [4]]),
        .routes: ResourceSet(version: "1", resources: ["vagus": [5]]),
    ]

    // The macros do not take what changes something.

    private static func made(_ response: DiscoveryResponse?) throws -> DiscoveryResponse { try #require(response) }

    private static func nothing(_ response: DiscoveryResponse?) { #expect(response == nil) }

    private static func request(
        _ kind: ResourceKind, _ names: [String] = [], answering response: DiscoveryResponse? = nil,
        complaint: String? = nil
    ) -> DiscoveryRequest {
        var request = DiscoveryRequest()
        (request.type, request.names, request.nonce) = (kind.rawValue, names, response?.nonce ?? "")
        request.complaint = complaint
        return request
    }

    @Test func `a version is in force when its own nonce has been answered`() throws {
        var talk = DiscoveryConversation()
        let set = try #require(Self.sets[.clusters])
        #expect(talk.standing(.clusters, set) == .waiting)
        let response = try Self.made(talk.take(Self.request(.clusters), offering: Self.sets))
        #expect(response.resources == [[1], [2]] && response.version == "1")
        #expect(talk.standing(.clusters, set) == .waiting)
        Self.nothing(talk.take(Self.request(.clusters, answering: response), offering: Self.sets))
        #expect(talk.standing(.clusters, set) == .accepted)
        Self.nothing(talk.offer(.clusters, set))
    }

    @Test func `the answer to an older response says nothing about the last`() throws {
        var talk = DiscoveryConversation()
        let first = try Self.made(talk.take(Self.request(.clusters), offering: Self.sets))
        let next = ResourceSet(version: "2", resources: ["a": [9]])
        let second = try Self.made(talk.offer(.clusters, next))
        Self.nothing(talk.take(Self.request(.clusters, answering: first), offering: Self.sets))
        #expect(talk.standing(.clusters, next) == .waiting)
        Self.nothing(talk.take(Self.request(.clusters, answering: second), offering: Self.sets))
        #expect(talk.standing(.clusters, next) == .accepted)
    }

    @Test func `a refusal is told in its words, of its version only`() throws {
        var talk = DiscoveryConversation()
        let first = try Self.made(talk.take(Self.request(.routes, ["vagus"]), offering: Self.sets))
        _ = talk.take(Self.request(.routes, ["vagus"], answering: first), offering: Self.sets)
        let bad = ResourceSet(version: "2", resources: ["vagus": [6]])
        let second = try Self.made(talk.offer(.routes, bad))
        _ = talk.take(
            Self.request(.routes, ["vagus"], answering: second, complaint: "no such thing"), offering: Self.sets)
        #expect(talk.standing(.routes, bad) == .rejected("no such thing"))
        // Back to what was there before: offered anew, and awaited anew.
        let before = try #require(Self.sets[.routes])
        let third = try Self.made(talk.offer(.routes, before))
        #expect(third.resources == [[5]])
        _ = talk.take(Self.request(.routes, ["vagus"], answering: third), offering: Self.sets)
        #expect(talk.standing(.routes, before) == .accepted)
    }

    @Test func `endpoints are told of the clusters that were asked for, and again when more are`() throws {
        var talk = DiscoveryConversation()
        let set = try #require(Self.sets[.endpoints])
        let first = try Self.made(talk.take(Self.request(.endpoints, ["a"]), offering: Self.sets))
        #expect(first.resources == [[3]])
        let second = try Self.made(
            talk.take(Self.request(.endpoints, ["a", "b"], answering: first), offering: Self.sets))
        #expect(second.resources == [[3], [4]] && talk.standing(.endpoints, set) == .waiting)
        _ = talk.take(Self.request(.endpoints, ["a", "b"], answering: second), offering: Self.sets)
        #expect(talk.standing(.endpoints, set) == .accepted)
        // Fewer names need no answer.
        Self.nothing(talk.take(Self.request(.endpoints, ["a"], answering: second), offering: Self.sets))
    }

    @Test func `kinds that are not ours are left unanswered, and no endpoints need no answer`() {
        var talk = DiscoveryConversation()
        var request = DiscoveryRequest()
        request.type = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
        Self.nothing(talk.take(request, offering: Self.sets))
        #expect(talk.standing(.endpoints, ResourceSet(version: "3", resources: [:])) == .accepted)
        #expect(talk.standing(.clusters, ResourceSet(version: "3", resources: [:])) == .waiting)
    }

    @Test func `a request is read as Envoy writes it`() throws {
        // Made with the published messages: version 1, node n, names a and b, RDS, nonce 7, an error with its message.
        let type = ResourceKind.routes.rawValue
        var bytes: [UInt8] = [0x0A, 1, 0x31, 0x12, 3, 0x0A, 1, 0x6E, 0x1A, 1, 0x61, 0x1A, 1, 0x62]
        bytes += [0x22, UInt8(type.utf8.count)]
        bytes += Array(type.utf8)
        bytes += [0x2A, 1, 0x37, 0x32, 7, 0x08, 3, 0x12, 3]
        bytes += Array("bad".utf8)
        let request = try bytes.withUnsafeBufferPointer { try DiscoveryRequest($0) }
        #expect(request.version == "1" && request.node == "n" && request.names == ["a", "b"])
        #expect(request.type == type && request.nonce == "7" && request.complaint == "bad")
        for length in 1..<bytes.count {
            // Whatever is cut off may be refused; nothing else may happen.
            _ = bytes.prefix(length).withContiguousStorageIfAvailable { try? DiscoveryRequest($0) }
        }
    }

    @Test func `the page shows the bootstrap that is written`() async throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let page = try String(contentsOf: root.appending(path: "docs/how-to/routers.md"), encoding: .utf8)
        let text = try #require(page.components(separatedBy: "```yaml\n").last?.components(separatedBy: "```").first)
        let settings = EnvoyRouter.Settings(
            listen: ("127.0.0.1", 18_000), bind: ("127.0.0.1", 8_480), admin: ("127.0.0.1", 9_901))
        let shown = try #require(try YAML.documents(text).first).value
        #expect(shown == EnvoyBootstrap.configuration(settings, port: 18_000))
    }

    @Test func `Envoys of other machines have to show a token`() async {
        let settings = EnvoyRouter.Settings(
            listen: ("0.0.0.0", 0), bind: ("127.0.0.1", 1), admin: ("127.0.0.1", 1))
        await #expect(throws: (any Error).self) { try await EnvoyRouter(settings) }
    }
}
