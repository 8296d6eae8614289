import API
import Delivery
import Executors
import Foundation
import Kernel
import KernelTesting
import Processes
import Testing

extension PlatformCheck: CustomTestStringConvertible {
    public var testDescription: String { name }
}

/// Every platform keeps the contract of the port.
@Suite(.timeLimit(.minutes(5))) struct PlatformTests {
    private static func log(_ folder: String) -> @Sendable (InstanceID) -> String {
        { id in
            let place = "\(folder)/\(id.text.split(separator: "/").joined(separator: "."))/output.log"
            return FileManager.default.contents(atPath: place).map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
    }

    @Test(arguments: PlatformCheck.all)
    func `processes keep the contract`(_ check: PlatformCheck) async throws {
        let folder = try TestFolder()
        let probe = LocalProbe()
        func platform(_ name: String) -> ProcessPlatform {
            ProcessPlatform(
                folder: "\(folder.path)/\(name)", time: SystemTime(), unpack: { _, _ in },
                httpGet: { url, timeout in
                    guard let parts = URLComponents(string: url), let port = parts.port else { return nil }
                    return await probe.http(port: port, path: parts.path, timeout: timeout) ? 200 : 500
                })
        }
        try await check.run(
            on: PlatformSubject(
                platform("own"), next: platform("own"), other: platform("other"),
                boundsMemory: Processes.bounds.contains(.memory), log: Self.log("\(folder.path)/own")))
    }

    @Suite(
        .enabled(
            if: told("VAGUS_TEST_PODMAN") != nil,
            "SKIPPED: VAGUS_TEST_PODMAN is not set; scripts/setup-podman tells it"),
        .serialized)
    struct Containers {
        private static let socket = told("VAGUS_TEST_PODMAN") ?? ""

        private func container() -> ContainerSpec {
            var container = ContainerSpec()
            (container.image, container.pull) = (told("VAGUS_TEST_PODMAN_IMAGE") ?? "", .never)
            return container
        }

        private func platform(_ folder: String) -> ContainerPlatform {
            ContainerPlatform(socket: Self.socket, folder: folder, processes: 64, time: SystemTime())
        }

        @Test(arguments: PlatformCheck.all)
        func `containers keep the contract`(_ check: PlatformCheck) async throws {
            let folder = try TestFolder()
            let own = "\(folder.path)/own"
            try await check.run(
                on: PlatformSubject(
                    platform(own), next: platform(own), other: platform("\(folder.path)/other"),
                    container: container(), isReached: false, boundsMemory: true, log: PlatformTests.log(own)))
        }

        @Test func `an image that is not there, and an engine that does not answer, are told`() async throws {
            let folder = try TestFolder()
            var order = InstanceOrder(
                id: InstanceID("default/web/1/1"), service: Reference(project: "default", name: "web"), revision: 1,
                command: [], environment: [:])
            order.container = container()
            order.container?.image = "localhost/absent:1"
            let absent = order
            var problem = await #expect(throws: Problem.self) { try await platform(folder.path).start(absent) }
            #expect(problem?.status == 422 && problem?.message.contains("is not on this machine") ?? false)
            let nowhere = ContainerPlatform(
                socket: "\(folder.path)/none.sock", folder: folder.path, time: SystemTime())
            problem = await #expect(throws: Problem.self) { try await nowhere.instances() }
            #expect(problem?.status == 503 && problem?.message.contains("none.sock") ?? false)
            problem = await #expect(throws: Problem.self) { try await nowhere.start(absent) }
            #expect(problem?.status == 503, "\(String(describing: problem))")
        }
    }
}
