import API
import Manifests

/// What the jobs of a run have to say: annotations, coverage, the summaries of their steps.
struct SummaryView: Sendable {
    struct Note: Sendable {
        let status: Badge
        let text: String
        let place: String?
    }
    struct File: Sendable {
        let path: String
        let missed: String
        let percent: String
    }
    struct Text: Sendable {
        let title: String
        let html: Markup
    }
    struct Part: Sendable {
        let name: String
        let note: String
        let notes: [Note]
        let files: [File]
        let texts: [Text]
    }
    let parts: [Part]
    let empty: EmptyState?

    init(_ run: Run) {
        parts = run.jobs.filter(Self.hasWords).map(Self.part)
        empty =
            !parts.isEmpty
            ? nil
            : EmptyState(
                icon: "ok", title: "Nothing to say",
                text:
                    "What steps write to $VAGUS_SUMMARY in Markdown, and ::error::, ::warning:: and ::notice:: lines of "
                    + "their output, stand here.",
                commands: ["echo '# Built' >> \"$VAGUS_SUMMARY\""])
    }

    private static func hasWords(_ job: Job) -> Bool {
        !job.annotations.isEmpty || job.coverage != nil || job.steps.contains { $0.summary != nil }
    }

    /// How many annotations there are, and whether one is an error.
    static func count(_ run: Run) -> (words: Int?, hasErrors: Bool) {
        let count = run.jobs.reduce(0) { sum, job in
            sum + job.annotations.count + job.steps.count { $0.summary != nil } + (job.coverage == nil ? 0 : 1)
        }
        return (count == 0 ? nil : count, run.jobs.contains { $0.annotations.contains { $0.level == .error } })
    }

    private static func part(_ job: Job) -> Part {
        var note = ""
        if let coverage = job.coverage {
            note = "\(percent(coverage.covered, of: coverage.lines)) of \(coverage.lines) lines covered"
        }
        return Part(
            name: RunWords.job(job), note: note,
            notes: job.annotations.map { annotation in
                Note(
                    status: badge(annotation.level),
                    text: (annotation.title.map { "\($0): " } ?? "") + annotation.message,
                    place: annotation.file.map { $0 + (annotation.line.map { ":\($0)" } ?? "") })
            },
            files: (job.coverage?.files ?? []).filter { $0.covered < $0.lines }.map {
                File(
                    path: $0.path, missed: "\($0.lines - $0.covered)", percent: percent($0.covered, of: $0.lines))
            },
            texts: job.steps.compactMap { step in
                step.summary.map { Text(title: step.name, html: Markdown.html($0)) }
            })
    }

    private static func badge(_ level: Annotation.Level) -> Badge {
        switch level {
        case .error: Badge(.bad, "failed", "Error")
        case .warning: Badge(.warn, "warn", "Warning")
        case .notice: Badge(.mute, "info", "Notice")
        }
    }

    private static func percent(_ part: Int, of all: Int) -> String {
        let tenths = all == 0 ? 0 : Int((Double(part) / Double(all) * 1000).rounded())
        return "\(tenths / 10).\(tenths % 10) %"
    }
}
