import API
import Foundation
import Kernel
import Manifests

/// Finds targets: those that are written down, those of files, and running copies of services.
struct Discovery: Sendable {
    let house: TelemetryHouse
    let platforms: [any Platform]

    /// - Returns: All targets of the plan; and one line for each job or file that could not be read.
    func targets(of plan: TelemetryPlan) async -> (targets: [Target], complaints: [String]) {
        var targets = [Target(own: plan.interval)]
        var complaints: [String] = []
        var copies: [Instance]?
        for owned in plan.scrapes {
            let spec = owned.part
            var found = spec.targets.map { ($0, [String: String]()) }
            for group in spec.groups { found += Self.pairs(group) }
            if let name = spec.file {
                do { found += try groups(in: name).flatMap(Self.pairs) } catch {
                    complaints.append("\(spec.job): \(name): \(Problem(describing: error).message)")
                }
            }
            if spec.services {
                if copies == nil { copies = await allCopies() }
                found += (copies ?? []).filter { $0.isRunning && $0.service.project == owned.project }.map(Self.copy)
            }
            let own = found.compactMap { Target($0.0, $0.1, owned, usual: plan.interval) }
            if spec.limits.targets > 0, own.count > spec.limits.targets {
                complaints.append(
                    "\(spec.job): \(own.count) targets are more than the \(spec.limits.targets) that are allowed; none is scraped"
                )
            } else {
                targets += own
            }
        }
        if !plan.scrapes.contains(where: \.part.services) { targets += await usualCopies(plan.interval) }
        // The same target twice is scraped once.
        var seen = Set<String>()
        return (targets.filter { seen.insert($0.id).inserted }, complaints)
    }

    /// Copies of services when no manifest says how they are scraped: those that have `/metrics` are, under the service's name.
    private func usualCopies(_ interval: TimeSpan) async -> [Target] {
        return await allCopies().filter(\.isRunning).compactMap { instance in
            let (address, found) = Self.copy(instance)
            var labels = found
            labels["job"] = instance.service.name
            let owned = TelemetryPlan.Owned(project: instance.service.project, part: ScrapeSpec())
            var target = Target(address, labels, owned, usual: interval)
            target?.isTentative = true
            return target
        }
    }

    private func allCopies() async -> [Instance] {
        var copies: [Instance] = []
        for platform in platforms {
            copies += (try? await platform.instances()) ?? []  // none are found while it does not answer
        }
        return copies
    }

    private static func pairs(_ group: TargetGroup) -> [(String, [String: String])] {
        var labels: [String: String] = [:]
        for (name, value) in group.labels { labels[name] = value }
        return group.targets.map { ($0, labels) }
    }

    private static func copy(_ instance: Instance) -> (String, [String: String]) {
        (
            "\(instance.host):\(instance.port)",
            [
                "service": instance.service.name, "project": instance.service.project,
                "revision": String(instance.revision), "__meta_vagus_copy": instance.id.text,
            ]
        )
    }

    /// Targets of a file in `telemetry/targets`, JSON or YAML.
    private func groups(in name: String) throws -> [TargetGroup] {
        guard !name.hasPrefix("/"), !name.split(separator: "/").contains("..") else {
            throw Problem("targets.file", status: 422, "the file must lie in telemetry/targets of the data folder")
        }
        guard let data = FileManager.default.contents(atPath: house.folder + "/targets/" + name) else {
            throw Problem("targets.file", status: 404, "there is no such file in telemetry/targets")
        }
        let value = try YAML.documents(String(decoding: data, as: UTF8.self)).first?.value ?? []
        return try [TargetGroup](json: value, at: [])
    }
}
