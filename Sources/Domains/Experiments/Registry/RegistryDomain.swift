package import API
package import Blobs
package import Kernel
package import Manifests
package import Outbound
import SQL

/// What the registry reaches beyond its own tables.
package struct RegistryOutside: Sendable {
    /// Signs versions; nil: nothing is signed.
    package var signer: (any ContentSigner)?
    /// Lends the secrets of webhooks.
    package var secrets: (any SecretSource)?
    /// The way to webhooks; nil: there are none.
    package var outbound: OutboundClient?
    /// Tries whether the files of a version load, outside of this process: by their digest, with rows to score. Tells `loads`, and
    /// the `reason` when they do not; nil: nothing is tried.
    package var trial: (@Sendable (_ files: Digest, _ rows: JSONValue?) async throws -> JSONValue)?

    package init(
        signer: (any ContentSigner)? = nil, secrets: (any SecretSource)? = nil, outbound: OutboundClient? = nil,
        trial: (@Sendable (_ files: Digest, _ rows: JSONValue?) async throws -> JSONValue)? = nil
    ) {
        (self.signer, self.secrets, self.outbound, self.trial) = (signer, secrets, outbound, trial)
    }

    var sender: WebhookSender? {
        guard let outbound, let secrets else { return nil }
        return WebhookSender(outbound: outbound, secrets: secrets)
    }
}

extension ExperimentsDomain {
    var registry: RegistryRoutes { RegistryRoutes(context: context, blobs: blobs, outside: outside) }

    package var loops: [any RunnableLoop] {
        let logger = context.logger(for: Self.name)
        var loops: [any RunnableLoop] = [
            ReconcileLoop(RequestReconciler(store: store), store: store, sweep: .seconds(60), logger: logger),
            ReconcileLoop(UploadReconciler(tracking: tracking), store: store, sweep: .seconds(3600), logger: logger),
        ]
        if let sender = outside.sender {
            loops.append(FollowLoop(WebhookFollower(), store: store, logger: logger))
            loops.append(
                ReconcileLoop(
                    WebhookReconciler(store: store, sender: sender), store: store, sweep: .seconds(60), width: 8,
                    logger: logger))
        }
        return loops
    }

    /// A model that is declared by hand has its row from then on.
    package func admit(_ candidate: Candidate, in change: Change) throws {
        guard candidate.spec(of: ModelKind.self) != nil else { return }
        let model = Reference<ModelKind>(project: candidate.project, name: candidate.name)
        if try change.sql.model(model) == nil {
            try change.sql.keep(try Registry.row(model, title: nil, in: change))
        }
    }

    /// What is declared no more has no versions any more; one that aliases are guarded for goes only once they are let go.
    package func release(_ resource: Resource, in change: Change) throws {
        guard resource.kind == ModelKind.name else { return }
        try Registry.release(Reference<ModelKind>(project: resource.project, name: resource.name), in: change)
    }
}
