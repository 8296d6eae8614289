import API
import Kernel
import Manifests

/// What a revision runs, fixed when it is made: a later move of an alias or a change of a variable does not reach it.
struct FrozenWorkload: Manifest {
    var command: [String] = []
    var container: ContainerSpec?
    /// Where its containers run, if not on this machine.
    var target: TargetSpec?
    /// The image that the service declares, where a deploy has chosen another.
    var declared_image: String?
    var port: Int?
    var secrets: Ordered<String> = [:]
    var model: String?
    var model_version: Int?
    var digest: String?
    var format: String?
    var artifact: String?
    var variables: Ordered<String> = [:]
    var sample = Share(1)
    var resources = ResourcesSpec()
    var migration: String?
    /// Variables of both sides in blue_green, and the side that it has.
    var blue: Ordered<String> = [:]
    var green: Ordered<String> = [:]
    var colour: String?

    init() {}
    static let fields: [Field<Self>] = [
        .optional("command", \.command, "Program and arguments."),
        .optional("container", \.container, "Image, and what goes with it."),
        .optional("target", \.target, "Cluster of its containers."),
        .optional("declared_image", \.declared_image, "Image that the service declares, if another."),
        .optional("port", \.port, "Port inside its container."),
        .optional("secrets", \.secrets, "Environment variables from secrets."),
        .optional("model", \.model, "Model."),
        .optional("model_version", \.model_version, "Its version."),
        .optional("digest", \.digest, "Tree of the model's files."),
        .optional("format", \.format, "Its format."),
        .optional("artifact", \.artifact, "Tree of the working folder."),
        .optional("variables", \.variables, "Environment variables, those of the environment included."),
        .optional("sample", \.sample, "Share of the predictions that is kept."),
        .optional("resources", \.resources, "What each copy may take."),
        .optional("migration", \.migration, "Migration that it needs."), .optional("blue", \.blue, "Variables."),
        .optional("green", \.green, "Variables."), .optional("colour", \.colour, "Its side."),
    ]

    static let blue = "blue"
    static let green = "green"

    /// What its copies are, and so which platform keeps them.
    var form: CopyRow.Form {
        guard container != nil else { return .process }
        guard let context = target?.kubernetes else { return .container }
        return .cluster(ClusterTarget(context: context, namespace: target?.namespace))
    }

    /// `name@3`, for people.
    var modelText: String? { model.map { name in model_version.map { "\(name)@\($0)" } ?? name } }

    /// The same digest and the same variables: a new revision of it is only another commit.
    func runsTheSame(as other: FrozenWorkload) -> Bool {
        command == other.command && digest == other.digest && model == other.model && artifact == other.artifact
            && variables == other.variables && resources == other.resources
            && container == other.container && target == other.target && port == other.port && secrets == other.secrets
            && migration == other.migration && blue == other.blue && green == other.green
    }
}

/// A model as a workload names it.
struct ModelName: Sendable, Equatable {
    var name: String
    /// Number or alias; nil: a deploy step chooses.
    var version: String?

    init(_ text: String) {
        let parts = text.split(separator: "@", maxSplits: 1).map(String.init)
        name = parts.first ?? text
        version = parts.count == 2 ? parts[1] : nil
    }
}

/// Turns what is applied, or asked for by a deploy, into a workload that never changes.
struct WorkloadFreezer: Sendable {
    let caller: any OperationCaller

    /// What a spec with its environment asks for; a change of it makes a revision.
    static func signature(_ spec: ServiceSpec, _ environment: EnvironmentSpec?) -> String {
        let workload = spec.workload
        var parts: Ordered<JSONValue> = [
            "command": workload.command.json, "model": workload.model.json, "variables": workload.variables.json,
            "environment": (environment?.variables ?? [:]).json,
        ]
        // Left out where there are none, so that what was applied before they were known is no news.
        if workload.resources != ResourcesSpec() { parts["resources"] = workload.resources.json }
        if let container = workload.containerSpec { parts["container"] = container.written }
        if workload.containerSpec != nil, let port = workload.port { parts["port"] = port.json }
        if let target = cluster(spec, environment) { parts["target"] = target.json }
        if !workload.secrets.isEmpty { parts["secrets"] = workload.secrets.json }
        if let migration = workload.migration { parts["migration"] = .string(migration) }
        if !spec.rollout.blue_env.isEmpty { parts["blue"] = spec.rollout.blue_env.json }
        if !spec.rollout.green_env.isEmpty { parts["green"] = spec.rollout.green_env.json }
        return JSONValue.object(parts).canonicalText
    }

    /// The cluster that the containers of a service run in, if it has some and its environment names one.
    private static func cluster(_ spec: ServiceSpec, _ environment: EnvironmentSpec?) -> TargetSpec? {
        guard spec.workload.containerSpec != nil else { return nil }
        return environment?.targets.first { $0.kubernetes != nil }
    }

    /// Refuses containers that would have to run in two places, or where nobody runs them.
    static func checkTargets(_ spec: ServiceSpec, _ environment: EnvironmentSpec?) throws {
        let clusters = (environment?.targets ?? []).filter { $0.kubernetes != nil }
        guard clusters.count > 1, spec.workload.containerSpec != nil else { return }
        throw Problem(
            "service.targets", status: 422,
            "its environment has \(clusters.count) clusters, and a service runs in one",
            hint: "Make an environment for each cluster, and a service in each.", location: "environment")
    }

    /// Fixes a workload; nil when the spec waits for a deploy to choose a version.
    ///
    /// A deploy may name the model's version, the image of its containers, and the tree to unpack as a program's working
    /// folder. What it and the spec leave open is taken from the newest revision.
    func freeze(
        _ spec: ServiceSpec, _ environment: EnvironmentSpec?, project: String, model: String? = nil,
        image: String? = nil, artifact: String? = nil, newest: FrozenWorkload?, as call: Call
    ) async throws -> FrozenWorkload? {
        var frozen = FrozenWorkload()
        frozen.variables = environment?.variables ?? [:]
        for (name, value) in spec.workload.variables { frozen.variables[name] = value }
        frozen.sample = spec.predictions.sample
        (frozen.resources, frozen.migration) = (spec.workload.resources, spec.workload.migration)
        if spec.rollout.strategy == .blue_green {
            (frozen.blue, frozen.green) = (spec.rollout.blue_env, spec.rollout.green_env)
        }
        frozen.secrets = spec.workload.secrets
        guard let declared = spec.workload.model else {
            frozen.command = spec.workload.command
            if let container = spec.workload.containerSpec {
                try Self.fix(container, spec.workload.port, image, artifact, newest, in: &frozen)
                frozen.target = Self.cluster(spec, environment)
            } else {
                guard image == nil else {
                    throw Problem(
                        "service.no-container", status: 422, "the service does not run in containers",
                        hint: "Write `container: { image: … }` into its workload first.")
                }
                frozen.artifact = artifact ?? newest?.artifact
            }
            return frozen
        }
        let wanted = ModelName(model ?? declared)
        guard wanted.name == ModelName(declared).name else {
            throw Problem(
                "service.other-model", status: 422,
                "the service serves model \"\(ModelName(declared).name)\", not \"\(wanted.name)\"",
                hint: "Deploy a version of that model, or change the service's workload first.")
        }
        let version = wanted.version ?? (newest?.model == wanted.name ? newest?.model_version.map(String.init) : nil)
        guard let version else { return nil }
        let found = try await caller.call(
            Models.version, ModelVersionName(project: project, name: wanted.name, version: version), as: call)
        try await check(found, as: call)
        frozen.model = wanted.name
        frozen.model_version = found.version
        frozen.digest = found.digest
        frozen.format = found.format
        return frozen
    }

    /// The container of a workload, with the image that a deploy has chosen, now or for the newest revision.
    private static func fix(
        _ declared: ContainerSpec, _ port: Int?, _ image: String?, _ artifact: String?, _ newest: FrozenWorkload?,
        in frozen: inout FrozenWorkload
    ) throws {
        guard artifact == nil else {
            throw Problem(
                "service.no-folder", status: 422, "a container has no working folder to unpack an artifact into",
                hint: "Build an image of it, and deploy that: image: NAME.")
        }
        // What was deployed stays, as long as the service declares the same as then.
        let kept = newest?.declared_image == declared.image ? newest?.container?.image : nil
        frozen.container = declared
        frozen.container?.image = image ?? kept ?? declared.image
        frozen.declared_image = frozen.container?.image == declared.image ? nil : declared.image
        frozen.port = port ?? WorkloadSpec.containerPort
    }

    /// Refuses a version whose files are not what was registered and signed.
    private func check(_ version: ModelVersion, as call: Call) async throws {
        let name = "\(version.model)@\(version.version)"
        guard !version.digest.isEmpty else {
            throw Problem(
                "model.no-content", status: 422, "the files of model \"\(name)\" are not kept by this server",
                hint: "Register it with its files in the artifact proxy, or by a pipeline.")
        }
        let result = try await caller.call(
            Models.verify,
            ModelVersionName(project: version.project, name: version.model, version: "\(version.version)"),
            as: call)
        guard result.isGood else {
            throw Problem(
                "model.changed", status: 409,
                "model \"\(name)\" may not be deployed: \(result.problems.first ?? result.outcome.rawValue)",
                hint: "See what is wrong with: vagus models verify \(name)")
        }
    }
}

extension DeliverySettings {
    /// What the platform is told to start.
    func order(_ copy: CopyRow, _ workload: FrozenWorkload) -> InstanceOrder {
        let (project, name) = (copy.service.project, copy.service.name)
        var environment: [String: String] = [:]
        for (key, value) in workload.variables { environment[key] = value }
        if let colour = workload.colour {
            for (key, value) in colour == FrozenWorkload.blue ? workload.blue : workload.green {
                environment[key] = value
            }
            environment["VAGUS_COLOUR"] = colour
        }
        environment["VAGUS_PROJECT"] = project
        environment["VAGUS_SERVICE"] = name
        environment["VAGUS_REVISION"] = String(copy.revision)
        guard let model = workload.model else {
            var order = InstanceOrder(
                id: copy.id, service: copy.service, revision: copy.revision, command: workload.command,
                environment: environment, artifact: workload.artifact)
            (order.container, order.port) = (workload.container, workload.port)
            return bounded(order, workload)
        }
        let log = "\(predictions)/\(project)/\(name)/\(copy.revision).\(copy.number)"
        let command =
            serveCommand + [
                "--model", ".", "--name", model, "--version", String(workload.model_version ?? 0), "--project", project,
                "--service", name, "--revision", String(copy.revision), "--instance", copy.id.text,
                "--predictions", log, "--sample", String(workload.sample.fraction), "--requests",
                "\(requests)/\(project).\(name).\(copy.revision).\(copy.number)", "--port", "$PORT",
            ]
        return bounded(
            InstanceOrder(
                id: copy.id, service: copy.service, revision: copy.revision, command: command,
                environment: environment, artifact: workload.digest), workload)
    }

    private func bounded(_ order: InstanceOrder, _ workload: FrozenWorkload) -> InstanceOrder {
        var order = order
        (order.cpus, order.memory) = (workload.resources.cpu?.cpus, workload.resources.memory?.bytes)
        return order
    }
}
