import API
import KernelTesting
import Testing

@testable import Delivery

@Suite struct ModelTests {
    @Test func `a version whose files have changed is not deployed, by a verb or by a manifest`() async throws {
        let rig = try await Rig.open()
        try await rig.house.apply("kind: Service\nname: web\nworkload: { model: employment }")
        try await rig.settle()
        let refused = await problem { try await rig.deploy("k1", model: "employment@66") }
        #expect(refused?.code == "model.changed")
        #expect(refused?.message.contains("weights.bin") == true)
        #expect(rig.platform.running().isEmpty)
        try await rig.house.apply("kind: Service\nname: web\nworkload: { model: employment@66 }")
        try await rig.settle()
        #expect(try await rig.status().message.contains("may not be deployed"))
        #expect(rig.platform.running().isEmpty)
    }
}
