public import Manifests

/// Every operation on models.
public enum Models {
    private static let one = "/api/v1/projects/{project}/models/{name}"

    public static let versions = Operation<Name, ItemList<ModelVersion>>(
        "models.versions", .get, one + "/versions", needs: .read, "Lists a model's versions, newest first.")
    public static let version = Operation<ModelVersionName, ModelVersion>(
        "models.version", .get, one + "/versions/{version}", needs: .read,
        "Shows a version, by number, label, alias or \"latest\".")
    public static let register = Operation<ModelVersion, ModelVersion>(
        "models.register", .post, "/api/v1/projects/{project}/models/{model}/versions", needs: .run,
        "Registers a version. The same run and digest registered twice is one version.")
    public static let remove = Operation<ModelVersionName, ModelVersion>(
        "models.remove", .delete, one + "/versions/{version}", needs: .write,
        "Removes a version that nothing refers to. Its number is not used again.")
    public static let setAlias = Operation<AliasInput, ModelVersion>(
        "models.set-alias", .put, one + "/aliases/{alias}", needs: .run,
        "Moves an alias, if it points where the caller thinks it does.")
    public static let moveAliases = Operation<AliasesInput, ItemList<ModelVersion>>(
        "models.move-aliases", .post, one + "/aliases", needs: .run,
        "Moves several aliases at once, all or none, if each points where the caller thinks it does.")
    public static let compare = Operation<ModelComparison, ModelDifference>(
        "models.compare", .get, one + "/compare", needs: .read, "Compares two versions.")
    public static let evidence = Operation<ModelVersionName, ModelEvidence>(
        "models.evidence", .get, one + "/versions/{version}/evidence", needs: .read,
        "Shows what is on record of a version: signature, bill of materials, card, approvals.")
    public static let sign = Operation<ModelVersionName, ModelVersion>(
        "models.sign", .post, one + "/versions/{version}/sign", needs: .run,
        "Signs a version's files and writes its bill of materials anew.")
    public static let verify = Operation<ModelVersionName, ModelVerification>(
        "models.verify", .post, one + "/versions/{version}/verify", needs: .run,
        "Reads every file of a version again and checks it against what was registered and signed.")
    public static let prune = Operation<ModelPruneInput, ModelPrunePlan>(
        "models.prune", .post, one + "/prune", needs: .write,
        "Removes versions that are old and not referred to; or tells which it would.")

    public static let ask = Operation<ModelRequestInput, ModelRequest>(
        "models.ask", .post, one + "/versions/{version}/requests", needs: .run,
        "Asks people to approve a version for a stage. Asking twice is asking once.")
    public static let requests = Operation<ModelRequestQuery, ItemList<ModelRequest>>(
        "models.requests", .get, "/api/v1/projects/{project}/model-requests", needs: .read,
        "Lists what people were asked of versions, newest first.")
    public static let approve = Operation<ModelVerdictInput, ModelRequest>(
        "models.approve", .post, one + "/versions/{version}/approve", needs: .run,
        "Says yes to a version. Saying it twice is saying it once.")
    public static let reject = Operation<ModelVerdictInput, ModelRequest>(
        "models.reject", .post, one + "/versions/{version}/reject", needs: .run,
        "Says no to a version, whoever has said yes.")
    public static let deliveries = Operation<WebhookDeliveryQuery, ItemList<WebhookDelivery>>(
        "models.deliveries", .get, "/api/v1/projects/{project}/model-webhook-deliveries", needs: .read,
        "Lists what webhooks of the registry were sent, newest first.")
}

public struct ModelVersionName: Manifest {
    public var project = "default"
    public var name = ""
    public var version = "latest"
    public init() {}
    public init(project: String, name: String, version: String) {
        (self.project, self.name, self.version) = (project, name, version)
    }
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The model."),
        .optional("version", \.version, "Number, label, alias or \"latest\"."),
    ]
}

public struct AliasInput: Manifest {
    public var project = "default"
    public var name = ""
    public var alias = ""
    public var version = 0
    /// Where it must point now; 0: nowhere; absent: anywhere.
    public var expected: Int?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The model."),
        .required("alias", \.alias, "The alias."),
        .required("version", \.version, "Version it shall point to; 0 removes it."),
        .optional("expected", \.expected, "Version it must point to now, 0 for none; otherwise nothing changes (409)."),
    ]
}

public struct AliasesInput: Manifest {
    public var project = "default"
    public var name = ""
    public var aliases: Ordered<Int> = [:]
    public var expected: Ordered<Int> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The model."),
        .required("aliases", \.aliases, "Alias → version it shall point to; 0 removes it."),
        .optional(
            "expected", \.expected, "Alias → version it must point to now, 0 for none; all hold, or nothing changes."),
    ]
}

public struct ModelComparison: Manifest {
    public var project = "default"
    public var name = ""
    public var from = ""
    public var to = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The model."),
        .required("from", \.from, "The one: number, label or alias."),
        .required("to", \.to, "The other."),
    ]
}

public struct ModelPruneInput: Manifest {
    public var project = "default"
    public var name = ""
    public var dry_run = false
    public var keep: Int?
    public var after: TimeSpan?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "The model."),
        .optional("dry_run", \.dry_run, "Only tell."),
        .optional("keep", \.keep, "The newest versions that stay; absent: as the model says.", in: 1...100_000),
        .optional("after", \.after, "How old a version must be; absent: as the model says."),
    ]
}

public struct WebhookDeliveryQuery: Manifest {
    public var project = "default"
    public var webhook: String?
    public var limit = 100
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project to look in."),
        .optional("webhook", \.webhook, "Only of this webhook's id."),
        .optional("limit", \.limit, "At most this many.", in: 1...1000),
    ]
}

/// One message to a webhook.
public struct WebhookDelivery: Manifest {
    public enum Status: String, WireEnum { case waiting, delivered, dead }
    public var id = ""
    public var webhook = ""
    public var event = ""
    public var status = Status.waiting
    public var attempts = 0
    public var created_at = Timestamp.zero
    public var next_at: Timestamp?
    public var ended_at: Timestamp?
    public var answer: Int?
    public var error: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("id", \.id, "Its id: also in the header X-MLflow-Delivery-Id."),
        .told("webhook", \.webhook, "Id of the webhook."),
        .told("event", \.event, "What it tells of: model_version.created."),
        .told("status", \.status, "How it stands."),
        .told("attempts", \.attempts, "How often it was sent."),
        .told("created_at", \.created_at, "When it was to be told."),
        .optional("next_at", \.next_at, "When it is sent again."),
        .optional("ended_at", \.ended_at, "When it arrived, or was given up."),
        .optional("answer", \.answer, "Status of the last answer."),
        .optional("error", \.error, "Why there was no answer."),
    ]
}
