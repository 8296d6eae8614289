import API
import Manifests

/// A version that waits for people, one of them the visitor.
enum SampleModels {
    static let digest = "sha256:" + String(repeating: "ab", count: 32)

    static var request: ModelRequest {
        var request = ModelRequest()
        (request.id, request.model, request.version, request.stage) = ("request_01", "employment", 4, "production")
        (request.digest, request.requested_by, request.authors) = (digest, "user:cem", ["user:ben"])
        (request.min, request.from, request.mine) = (2, ["team:ml-leads"], true)
        (request.began_at, request.expires_at) = (SampleWorld.now, SampleWorld.now.advanced(by: .seconds(3600)))
        var said = Approval()
        (said.by, said.comment, said.digest, said.at) = ("eva", "<b>better</b>", digest, SampleWorld.now)
        request.approvals = [said]
        return request
    }

    static func evidence(_ version: ModelVersion) -> ModelEvidence {
        var evidence = ModelEvidence()
        evidence.version = version
        evidence.version.signed_with = String(repeating: "c", count: 64)
        evidence.version.parent = "employment@3"
        evidence.files = [ModelFile(path: "model.json", digest: digest, size: 4096)]
        evidence.signature = [:]
        evidence.card = "# employment, version 4\n\n| | |\n| --- | --- |\n| Format | linear |\n"
        evidence.requests = version.version == 4 ? [request] : []
        return evidence
    }

    static func difference(_ from: ModelVersion, _ to: ModelVersion) -> ModelDifference {
        var difference = ModelDifference()
        (difference.from, difference.to, difference.is_backward, difference.is_full) = (from, to, false, false)
        difference.breaks = ["input \"region\" is new and required"]
        difference.lines = ["metrics.auc: 0.81 → 0.84"]
        difference.files = ["~ model.json", "+ extra.bin"]
        return difference
    }
}
