import API
import Foundation
import Kernel
import Manifests
import Synchronization

/// Finds targets: those that are written down, those of files, and running copies of services.
struct Discovery: Sendable {
    let house: TelemetryHouse
    let platforms: [any Platform]
    private let last = Last()

    init(house: TelemetryHouse, platforms: [any Platform]) { (self.house, self.platforms) = (house, platforms) }

    /// What the targets that were told last were made from.
    private final class Last: Sendable {
        struct Sight: Sendable {
            var plan: TelemetryPlan
            /// By platform: what it told of changes before it was asked, and its copies.
            var seen: [(changes: UInt64?, copies: [Instance])]
        }
        let sight = Mutex<Sight?>(nil)
    }

    /// The same as ``targets(of:)``; nil when nothing can have changed since the last time, which of thousands of copies at
    /// rest costs nothing.
    func news(of plan: TelemetryPlan) async -> (targets: [Target], complaints: [String])? {
        let before = last.sight.withLock { $0 }
        var seen: [(changes: UInt64?, copies: [Instance])] = []
        for (place, platform) in platforms.enumerated() {
            let changes = platform.changes
            if let known = before?.seen[place], let changes, known.changes == changes {
                seen.append(known)
            } else {
                seen.append((changes, await Self.copies(platform)))
            }
        }
        last.sight.withLock { $0 = Last.Sight(plan: plan, seen: seen) }
        // Files are read each time: nobody tells of their changes.
        if let before, before.plan == plan, before.seen.map({ $0.copies }) == seen.map({ $0.copies }),
            plan.scrapes.allSatisfy({ $0.part.file == nil })
        {
            return nil
        }
        return targets(of: plan, seen.flatMap { $0.copies })
    }

    /// - Returns: All targets of the plan; and one line for each job or file that could not be read.
    func targets(of plan: TelemetryPlan) async -> (targets: [Target], complaints: [String]) {
        var copies: [Instance] = []
        for platform in platforms { copies += await Self.copies(platform) }
        return targets(of: plan, copies)
    }

    private static func copies(_ platform: any Platform) async -> [Instance] {
        (try? await platform.instances()) ?? []  // none are found while it does not answer
    }

    private func targets(
        of plan: TelemetryPlan, _ all: [Instance]
    ) -> (targets: [Target], complaints: [String]) {
        let copies = all.filter(\.isRunning)
        var targets = [Target(own: plan.interval)]
        var complaints: [String] = []
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
                found += copies.filter { $0.service.project == owned.project }.map(Self.copy)
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
        if !plan.scrapes.contains(where: \.part.services) { targets += Self.usual(copies, plan.interval) }
        // The same target twice is scraped once.
        var seen = Set<String>()
        return (targets.filter { seen.insert($0.id).inserted }, complaints)
    }

    /// Copies of services when no manifest says how they are scraped: those that have `/metrics` are, under the service's name.
    private static func usual(_ copies: [Instance], _ interval: TimeSpan) -> [Target] {
        copies.compactMap { instance in
            let (address, found) = copy(instance)
            var labels = found
            labels["job"] = instance.service.name
            let owned = TelemetryPlan.Owned(project: instance.service.project, part: ScrapeSpec())
            var target = Target(address, labels, owned, usual: interval)
            target?.isTentative = true
            return target
        }
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
