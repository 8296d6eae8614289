public import Manifests

/// What a job waits for, told apart from how it was written.
public struct Need: Sendable, Hashable {
    /// As written in expressions: `needs.NAME`.
    public var name: String
    public var stage: String
    /// Nil: the whole stage.
    public var job: String?
    public var isOptional = false
    /// Only cells that have these values; empty: all.
    public var matrix: Ordered<JSONValue> = [:]

    public init(name: String, stage: String, job: String? = nil) {
        (self.name, self.stage, self.job) = (name, stage, job)
    }

    /// `build`, `test/unit`, `test/unit (os: debian12)`.
    public var label: String {
        let place = job.map { "\(stage)/\($0)" } ?? stage
        guard !matrix.isEmpty else { return place }
        return "\(place) (\(matrix.map { "\($0.key): \($0.value.string ?? $0.value.text)" }.joined(separator: ", ")))"
    }
    /// The same in a sentence: `stage "build"`, `job "test/unit"`.
    public var words: String { (job == nil ? "stage" : "job") + " \"\(label)\"" }
}

/// The graph of a pipeline: who is there, and what waits for what. Made in time linear in the size of the pipeline.
public struct PipelineGraph: Sendable {
    /// Stages and finally-stages in the order written.
    public let stages: [StageSpec]
    /// Needs of each stage, and of each job besides its stage's, by job's name.
    public private(set) var stageNeeds: [[Need]] = []
    public private(set) var jobNeeds: [[String: [Need]]] = []
    private let index: [String: Int]
    /// Where finally-stages begin.
    public let firstFinally: Int
    private let jobs: [Ordered<JobSpec>]

    /// - Throws: the first need that names nothing, its path relative to the pipeline.
    public init(_ spec: PipelineSpec) throws(ManifestError) {
        stages = spec.stages + spec.finally
        firstFinally = spec.stages.count
        jobs = stages.map(\.allJobs)
        index = Dictionary(stages.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        stageNeeds.reserveCapacity(stages.count)
        jobNeeds.reserveCapacity(stages.count)
        for position in stages.indices {
            stageNeeds.append(try needs(ofStage: position))
            jobNeeds.append(try needs(ofJobsIn: position))
        }
    }

    public subscript(name: String) -> Int? { index[name] }
    public func allJobs(of stage: Int) -> Ordered<JobSpec> { jobs[stage] }
    public func isFinally(_ stage: Int) -> Bool { stage >= firstFinally }

    /// Path of a stage in the manifest.
    func path(_ stage: Int) -> [String] {
        isFinally(stage) ? ["finally", "\(stage - firstFinally)"] : ["stages", "\(stage)"]
    }

    // MARK: Needs

    private func needs(ofStage position: Int) throws(ManifestError) -> [Need] {
        guard let written = stages[position].needs else {
            // Cleaning up waits for everything anyway, and one that fails must not keep the next one from its work.
            if position == 0 || isFinally(position) { return [] }
            let before = stages[position - 1].name
            return [Need(name: before, stage: before)]
        }
        var found: [Need] = []
        for (place, need) in written.enumerated() {
            do throws(ManifestError) {
                found.append(try resolve(need, in: nil))
            } catch {
                throw error.below(path(position) + ["needs", "\(place)"])
            }
        }
        return found
    }

    private func needs(ofJobsIn position: Int) throws(ManifestError) -> [String: [Need]] {
        var all: [String: [Need]] = [:]
        for (name, job) in stages[position].jobs where !job.needs.isEmpty {
            var found: [Need] = []
            for (place, need) in job.needs.enumerated() {
                do throws(ManifestError) {
                    found.append(try resolve(need, in: position))
                } catch {
                    throw error.below(path(position) + ["jobs", name, "needs", "\(place)"])
                }
            }
            all[name] = found
        }
        return all
    }

    /// - Parameter home: The stage of the job that needs it; nil for the need of a stage.
    private func resolve(_ spec: NeedSpec, in home: Int?) throws(ManifestError) -> Need {
        var need: Need
        if let text = spec.name {
            need = try short(text, in: home)
        } else {
            guard let stage = spec.stage.map({ index[$0] }) ?? home else {
                if let name = spec.stage { throw unknownStage(name, at: ["stage"]) }
                throw ManifestError(
                    at: [], message: "a need of a stage says in which stage its job is", hint: "Add stage: NAME.")
            }
            let isHome = stage == home
            need = Need(name: (isHome ? spec.job : nil) ?? stages[stage].name, stage: stages[stage].name, job: spec.job)
            if let job = spec.job, jobs[stage][job] == nil { throw unknownJob(job, in: stage, at: ["job"]) }
        }
        (need.isOptional, need.matrix) = (spec.optional, spec.matrix)
        try checkCells(need)
        return need
    }

    /// A name alone: among the needs of a job first a job of its stage, then a stage, then stage/job.
    private func short(_ text: String, in home: Int?) throws(ManifestError) -> Need {
        if let home, jobs[home][text] != nil, !stages[home].jobs.isEmpty {
            return Need(name: text, stage: stages[home].name, job: text)
        }
        if index[text] != nil { return Need(name: text, stage: text) }
        guard let slash = text.firstIndex(of: "/") else {
            guard let home else { throw unknownStage(text, at: []) }
            let known = stages[home].jobs.keys + stages.map(\.name)
            throw ManifestError(
                at: [], message: "no job of this stage and no stage is called \"\(text)\"",
                hint: Self.hint(text, known, "name"))
        }
        let (stage, job) = (String(text[..<slash]), String(text[text.index(after: slash)...]))
        guard let position = index[stage] else { throw unknownStage(stage, at: []) }
        guard jobs[position][job] != nil else { throw unknownJob(job, in: position, at: []) }
        return Need(name: stage, stage: stage, job: job)
    }

    private func checkCells(_ need: Need) throws(ManifestError) {
        guard !need.matrix.isEmpty, let job = need.job, let stage = index[need.stage] else { return }
        guard let matrix = jobs[stage][job]?.matrix else {
            throw ManifestError(at: ["matrix"], message: "job \"\(need.stage)/\(job)\" has no matrix")
        }
        guard !matrix.isDynamic, !need.isOptional else { return }
        let cells = try matrix.cells()
        if !cells.contains(where: { $0.matches(need.matrix) }) {
            throw ManifestError(
                at: ["matrix"], message: "job \"\(need.stage)/\(job)\" has no cell like that",
                hint: "Its cells are: \(cells.prefix(8).map(\.cellTitle).joined(separator: " · ")).")
        }
    }

    private func unknownStage(_ name: String, at path: [String]) -> ManifestError {
        ManifestError(
            at: path, message: "no stage \"\(name)\" in this pipeline",
            hint: Self.hint(name, stages.map(\.name), "stage"))
    }

    private func unknownJob(_ name: String, in stage: Int, at path: [String]) -> ManifestError {
        ManifestError(
            at: path, message: "no job \"\(name)\" in stage \"\(stages[stage].name)\"",
            hint: Self.hint(name, jobs[stage].keys, "job"))
    }

    /// A suggestion that stays readable, and quick, among thousands.
    static func hint(_ name: String, _ known: [String], _ noun: String) -> String {
        if let near = nearest(to: name, in: known.prefix(2000)) { return "Did you mean \"\(near)\"?" }
        let shown = known.prefix(20).joined(separator: ", ")
        return known.isEmpty
            ? "There are no \(noun)s here." : "The \(noun)s here are: \(shown)\(known.count > 20 ? ", …" : "")."
    }
}

// MARK: - Order

extension PipelineGraph {
    /// Stages and jobs as numbers: first all stages, then all jobs; what each waits for.
    ///
    /// A stage waits for all its jobs, a job for what its stage needs and for its own needs, so that the number of edges
    /// stays linear even when a stage of a thousand jobs needs one of a thousand jobs.
    private struct Numbered {
        var names: [String] = []
        var waits: [[Int]] = []
        /// Edges that a job's own need made.
        var ownNeeds: Set<[Int]> = []
    }

    private func numbered() -> Numbered {
        var all = Numbered()
        var number: [String: Int] = [:]
        for stage in stages { all.names.append(stage.name) }
        for (position, stage) in stages.enumerated() {
            for (job, _) in jobs[position] {
                number["\(stage.name)/\(job)"] = all.names.count
                all.names.append("\(stage.name)/\(job)")
            }
        }
        all.waits = Array(repeating: [], count: all.names.count)
        func target(_ need: Need) -> Int? { need.job.map { number["\(need.stage)/\($0)"] } ?? index[need.stage] }
        for (position, stage) in stages.enumerated() {
            let common = stageNeeds[position].compactMap(target)
            for (job, _) in jobs[position] {
                guard let me = number["\(stage.name)/\(job)"] else { continue }
                all.waits[position].append(me)
                let own = (jobNeeds[position][job] ?? []).compactMap(target)
                for other in own { all.ownNeeds.insert([me, other]) }
                all.waits[me] = common + own
            }
        }
        return all
    }

    /// A circle of needs, in words; nil when there is none.
    func circle() -> ManifestError? {
        let all = numbered()
        var open = all.waits.map(\.count)
        var waitedBy: [[Int]] = Array(repeating: [], count: all.names.count)
        for (node, waits) in all.waits.enumerated() { for other in waits { waitedBy[other].append(node) } }
        var free = open.indices.filter { open[$0] == 0 }
        while let node = free.popLast() {
            for other in waitedBy[node] {
                open[other] -= 1
                if open[other] == 0 { free.append(other) }
            }
        }
        guard let first = open.indices.first(where: { open[$0] > 0 }) else { return nil }
        // Whoever is left waits for somebody who is left: walking on must come back to where it was.
        var trail: [Int] = []
        var seen: [Int: Int] = [:]
        var node = first
        while seen[node] == nil {
            seen[node] = trail.count
            trail.append(node)
            node = all.waits[node].first { open[$0] > 0 } ?? node
        }
        trail.removeFirst(seen[node] ?? 0)
        trail.append(node)
        return describe(trail, all)
    }

    private func describe(_ trail: [Int], _ all: Numbered) -> ManifestError {
        let isAmongJobs = zip(trail, trail.dropFirst()).contains { all.ownNeeds.contains([$0, $1]) }
        var names = trail.filter { isAmongJobs == ($0 >= stages.count) }.map { all.names[$0] }
        if names.first != names.last || names.count < 2, let first = names.first { names.append(first) }
        let shown = names.count > 12 ? names.prefix(6) + ["…"] + names.suffix(5) : names[...]
        return ManifestError(
            at: ["stages"],
            message: "\(isAmongJobs ? "jobs" : "stages") wait for each other: \(shown.joined(separator: " → "))",
            hint: "Take one of these needs away.")
    }

    /// For each stage the stages that have surely ended before it begins, as bits; call it when there is no circle.
    func ancestors() -> [[UInt64]] {
        let words = (stages.count + 63) / 64
        var sets = Array(repeating: Array(repeating: UInt64(0), count: words), count: stages.count)
        var waits = stages.indices.map { stage in
            Set((stageNeeds[stage]).compactMap { index[$0.stage] })
        }
        for stage in firstFinally..<stages.count { waits[stage].formUnion(0..<firstFinally) }
        var open = waits.map(\.count)
        var waitedBy: [[Int]] = Array(repeating: [], count: stages.count)
        for (stage, needs) in waits.enumerated() { for other in needs { waitedBy[other].append(stage) } }
        var free = open.indices.filter { open[$0] == 0 }
        while let stage = free.popLast() {
            for other in waitedBy[stage] {
                for word in 0..<words { sets[other][word] |= sets[stage][word] }
                sets[other][stage / 64] |= 1 << UInt64(stage % 64)
                open[other] -= 1
                if open[other] == 0 { free.append(other) }
            }
        }
        return sets
    }
}
