import API
package import Client
import Executors
import Foundation
package import Kernel
package import Logging
import Manifests

// The runner: takes jobs from the server and does their steps.
//
// What comes in: leases (a job with its orders, fully resolved). What goes out: output, as it is written; the outcome of
// each step with what it has left behind; the outcome of the job.
//
// A restart of the server kills no step: every report is repeated until it is heard, output waits in a bounded buffer and
// then in the pipe of the program. A restart of the runner ends what its earlier life has left running, says hello, and
// goes on behind the last finished step in the workspace that it has kept.
//
// Folder: workspaces/<run>/<stage>.<job>/ workspace, steps and state of a job · blobs/ the cache of artifacts
//         process/, sandbox/, … notes of the executors on who is running, for the next life to end it or to find it again
//
//   RunnerAgent      slots that lease, work, and lease again     ServerDoor   calls repeated until heard
//   JobWork          one job: steps, output, lease, time limit   JobFolder    its files and its memory
//   StepsWork        one step after another, conditions          StepAttempts  one step, as often as its retry allows
//   StepWork         one try: verb, outcome                      ShellVerb, CheckoutVerb, WorkerVerb
//   StepFiles, StepCommands   what a script says of itself       StopSignal, DrainSignal   word that it must end
//   Execution        which executor runs a command               JobServices   programs beside the steps
//   JobReporter      ends of jobs, told together
//   JobOutput        bytes on their way up, bounded              Artifacts, Globs, JobCaches   what is kept
//   RemoteShells     terminals for people, in kept workspaces
//   Disk             room, and who takes too much of it          JUnit, CoverageReport, XMLScanner   what is read

/// How a runner works.
package struct RunnerSettings: Sendable {
    package var name: String
    /// Its folder: workspaces, blobs, processes; of this runner alone.
    package var folder: String
    /// Jobs at once.
    package var capacity: Int
    package var labels: [String]
    /// Where relative paths of datasets begin.
    package var datasets: String
    /// This program, for `vagus work`.
    package var vagus: String
    /// libxgboost.so, if it was named.
    package var xgboost: String?
    /// All that steps see of our environment: PATH, HOME, LANG.
    package var environment: [String: String]
    package var version: String
    /// What steps can be executed with; none given is processes of this machine.
    package var executors: [any Executor] = []
    /// Processors and bytes of memory for jobs, all together.
    package var cpu: Double?
    package var memory: Int64?
    /// Takes one job, and ends with it.
    package var isOnce = false
    /// How long jobs may go on once it shall end; then they are given back.
    package var drainTimeout: Duration = .seconds(600)

    package init(
        name: String, folder: String, capacity: Int = 2, labels: [String] = [], datasets: String, vagus: String,
        xgboost: String? = nil, environment: [String: String], version: String = ""
    ) {
        (self.name, self.folder, self.capacity, self.labels) = (name, folder, capacity, labels)
        (self.datasets, self.vagus, self.xgboost) = (datasets, vagus, xgboost)
        (self.environment, self.version) = (environment, version)
    }
}

/// The bounds of a runner.
package enum RunnerLimits {
    /// Output that waits for the server before a step is held back.
    package static let waitingOutput = 8 << 20
    /// Bytes of one piece of output.
    package static let chunkBytes = 512 << 10
    /// Output that goes along with the end of its job instead of in a call of its own.
    package static let tailBytes = 16 << 10
    /// How long output is gathered before it goes up; a program's first word after a silence goes at once.
    package static let gathering: Duration = .milliseconds(50)
    /// Bytes of one line; the rest of it is dropped.
    package static let lineBytes = 1 << 20
    /// How long reports are repeated once the lease can no longer be valid.
    package static let patience: Duration = .seconds(600)
    /// Time between SIGTERM and SIGKILL for a step.
    package static let stopGrace: Duration = .seconds(5)
    /// Bytes of a JUnit report, and of the result of a worker.
    package static let reportBytes = 32 << 20
    /// Workspaces that nobody has touched for so long are removed at start.
    package static let workspaceAge: Duration = .seconds(7 * 86_400)
    /// Bytes of the cache of artifacts; a larger one is emptied at start.
    package static let cacheBytes: Int64 = 20 << 30
    /// Files that one artifact may take.
    package static let artifactFiles = 100_000
    /// Bytes that an artifact or a cache may take when unpacked.
    package static let unpackBytes: Int64 = 50 << 30
    /// Blobs of which the server is asked at once whether it has them.
    package static let absentAtOnce = 1000
    /// Time that steps which clean up have, all together, once their job must end.
    ///
    /// With `stopGrace` less than the server waits for a cancelled or late job.
    package static let cleaningTime: Duration = .seconds(30)
    /// Bytes that must be free for a job to begin; at half of it the largest job is ended.
    package static let freeBytes: Int64 = 512 << 20
    /// How often the disk is looked at.
    package static let diskInterval: Duration = .seconds(2)
    /// How long a runner whose disk is full waits before it asks for a job again.
    package static let noRoomPause: Duration = .seconds(10)
    /// How long a workspace is kept for people to look at, and how often that is looked at.
    package static let keptAge: Duration = .seconds(86_400)
    package static let keptInterval: Duration = .seconds(600)
}

/// Takes jobs until cancelled.
package struct RunnerAgent: Sendable {
    let door: any ServerDoor
    let settings: RunnerSettings
    let logger: Logger
    let time: any TimeSource
    let drain: DrainSignal

    package init(client: VagusClient, settings: RunnerSettings, logger: Logger, drain: DrainSignal = DrainSignal()) {
        self.init(door: client, settings: settings, logger: logger, time: SystemTime(), drain: drain)
    }

    init(
        door: any ServerDoor, settings: RunnerSettings, logger: Logger, time: any TimeSource,
        drain: DrainSignal = DrainSignal()
    ) {
        (self.door, self.settings, self.logger, self.time) = (door, settings, logger, time)
        self.drain = drain
    }

    /// Ends what an earlier life has left, then works until cancelled, or until it has drained.
    ///
    /// When cancelled, steps under way are ended and their jobs given back; finished steps stay finished.
    package func run() async throws {
        let place = try RunnerPlace(settings.folder)
        place.sweep(before: time.now.advanced(by: .zero - RunnerLimits.workspaceAge))
        let incarnation = IdentifierSource.system(time).next("inc")
        let shared = try JobContext(door: door, settings: settings, place: place, logger: logger, time: time)
        for executor in shared.executors { await executor.clear(job: nil) }
        try await shared.cache.trim(to: RunnerLimits.cacheBytes)
        while true {
            let welcome = try await hello(incarnation, shared)
            do {
                return try await work(incarnation, shared, Pace(welcome))
            } catch let problem as Problem where problem.code == "runner.unknown" {
                // The server has lost its memory, or another process has taken our name: say hello again.
                logger.warning(
                    "the server does not know this runner; saying hello again", metadata: ["name": "\(settings.name)"])
                try await time.sleep(for: .seconds(2))
            }
        }
    }

    private func hello(_ incarnation: String, _ shared: JobContext) async throws -> RunnerWelcome {
        var hello = RunnerHello()
        (hello.name, hello.incarnation, hello.labels) = (settings.name, incarnation, settings.labels)
        (hello.capacity, hello.version) = (settings.capacity, settings.version)
        hello.executors = shared.executors.map(\.kind)
        (hello.cpu, hello.memory) = (settings.cpu.map(CPUAmount.init), settings.memory.map(ByteSize.init(bytes:)))
        let patient = Patient(door: door, time: time, patience: nil)
        let welcome = try await patient.call(Runners.hello, hello)
        logger.info("runner is ready", metadata: ["name": "\(settings.name)", "capacity": "\(settings.capacity)"])
        return welcome
    }

    private enum Part: Sendable { case leased([Lease]), given([Lease]), jobEnded, drainTimeout, watch }

    /// Asks for as many jobs as it has room for, and works on those it has; returns when it drains and all have ended.
    private func work(_ incarnation: String, _ shared: JobContext, _ pace: Pace) async throws {
        let takesMore = !settings.isOnce
        let reporter = JobReporter(
            door: shared.door, name: settings.name, incarnation: incarnation, time: time,
            takesMore: { [drain] in takesMore && !drain.isAsked })
        try await withThrowingTaskGroup(of: Part.self) { group in
            group.addTask { .given(try await reporter.next()) }
            group.addTask {
                try await drainWhenAsked(incarnation)
                return .drainTimeout
            }
            group.addTask {
                try await shared.disk.run(at: shared.place.folder, by: time)
                return .watch
            }
            group.addTask {
                try await sweepKept(shared.place)
                return .watch
            }
            group.addTask {
                try await RemoteShells(shared: shared).run(incarnation)
                return .watch
            }
            var slots = Slots(free: settings.isOnce ? 1 : max(1, settings.capacity))
            func begin(_ leases: [Lease]) {
                slots.take(leases.count)
                for lease in leases {
                    group.addTask {
                        try await JobWork(lease: lease, shared: shared, pace: pace, reporter: reporter).run()
                        return .jobEnded
                    }
                }
            }
            while true {
                if slots.free > 0, !slots.isAsking, !drain.isAsked, !slots.isSpent {
                    let count = slots.free
                    group.addTask { .leased(try await lease(incarnation, count: count)) }
                    slots.isAsking = true
                }
                guard slots.busy > 0 || slots.isAsking, let part = try await group.next() else { break }
                switch part {
                case .leased(let leases):
                    slots.isAsking = false
                    slots.isSpent = settings.isOnce && !leases.isEmpty
                    begin(leases)
                case .given(let leases):
                    begin(leases)
                    group.addTask { .given(try await reporter.next()) }
                case .jobEnded: slots.give()
                case .watch: break
                case .drainTimeout:
                    logger.warning(
                        "the time to drain is over; jobs are given back", metadata: ["name": "\(settings.name)"])
                    return group.cancelAll()
                }
            }
            group.cancelAll()
        }
    }

    /// How many jobs it has, and may have.
    private struct Slots {
        var free: Int
        var busy = 0
        var isAsking = false
        /// It was made for one job, and has had it.
        var isSpent = false

        mutating func take(_ count: Int) { (free, busy) = (free - count, busy + count) }
        mutating func give() { (free, busy) = (free + 1, busy - 1) }
    }

    /// Waits until it shall drain, has the server give it nothing more, and waits for as long as jobs may go on.
    private func drainWhenAsked(_ incarnation: String) async throws {
        try await drain.wait()
        logger.notice("runner drains: it takes no more jobs", metadata: ["name": "\(settings.name)"])
        var input = LeaseInput()
        (input.name, input.incarnation) = (settings.name, incarnation)
        do {
            _ = try await door.call(Runners.drain, input)
        } catch let error where Patient.isPassing(error) {
            // Without the server's word the open question for work takes longer to end; it ends all the same.
            logger.info("could not tell the server of draining", metadata: ["error": "\(error)"])
        }
        try await time.sleep(for: settings.drainTimeout)
    }

    private func sweepKept(_ place: RunnerPlace) async throws {
        while true {
            place.sweepKept(before: time.now.advanced(by: .zero - RunnerLimits.keptAge))
            try await time.sleep(for: RunnerLimits.keptInterval)
        }
    }

    private func lease(_ incarnation: String, count: Int) async throws -> [Lease] {
        var input = LeaseInput()
        (input.name, input.incarnation, input.count) = (settings.name, incarnation, count)
        do {
            return try await door.call(Runners.lease, input).leases
        } catch let error where Patient.isPassing(error) {
            try await time.sleep(for: .milliseconds(500))
            return []
        }
    }
}

/// How long a lease holds and how often it is renewed, as the server says.
struct Pace: Sendable {
    var lease: Duration
    var renewal: Duration
    init(_ welcome: RunnerWelcome) {
        lease = .milliseconds(Int64(max(1, welcome.lease_seconds) * 1000))
        renewal = .milliseconds(Int64(max(0.05, welcome.renew_seconds) * 1000))
    }
}

/// What all jobs of a runner share.
struct JobContext: Sendable {
    let door: any ServerDoor
    let settings: RunnerSettings
    let place: RunnerPlace
    let cache: ArtifactCache
    let disk = DiskWatch()
    let logger: Logger
    let time: any TimeSource
    let executors: [any Executor]
    let probe = LocalProbe()

    init(
        door: any ServerDoor, settings: RunnerSettings, place: RunnerPlace, logger: Logger, time: any TimeSource
    ) throws {
        (self.door, self.settings, self.place) = (door, settings, place)
        (self.logger, self.time) = (logger, time)
        executors =
            settings.executors.isEmpty
            ? [try ProcessExecutor(ProcessSettings(folder: settings.folder))] : settings.executors
        cache = try ArtifactCache(folder: place.blobs, door: Patient(door: door, time: time))
    }
}
