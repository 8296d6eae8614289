import API
import Kernel
import Manifests
import SQL

/// What was aborted or gone back from is not rolled out again, unless somebody wants it.
enum Condemned {
    /// Refuses the workload of a deploy when the same was condemned before.
    ///
    /// The same: equal in all that runs; and of the same commit, or other than what is stable, which is evidently not
    /// what was bad.
    static func refuse(
        _ workload: FrozenWorkload, commit: String?, of name: ServiceReference, stable: Int?, in sql: Connection
    ) throws {
        let rows = try RevisionRow.all(of: name, in: sql)
        let trusted = rows.first { $0.revision == stable }
        let found = rows.last { row in
            guard row.condemned != nil, row.workload.runsTheSame(as: workload) else { return false }
            if let commit, commit == row.commit { return true }
            return trusted.map { !$0.workload.runsTheSame(as: workload) } ?? true
        }
        if let found { throw problem(found, name) }
    }

    /// Refuses what is applied when just that was condemned before.
    static func refuse(
        signature: String, of name: ServiceReference, in sql: Connection
    ) throws {
        let rows = try RevisionRow.all(of: name, in: sql)
        let stable = try ServiceRow.read(name, in: sql).stable
        guard let found = rows.last(where: { $0.condemned != nil && $0.signature == signature }),
            rows.first(where: { $0.revision == stable })?.signature != signature
        else { return }
        throw problem(found, name)
    }

    private static func problem(_ row: RevisionRow, _ name: ServiceReference) -> Problem {
        Problem(
            "service.condemned", status: 409,
            "service \"\(name.name)\" went back from just this, its revision \(row.revision): \(row.condemned ?? "")",
            hint: "Change the workload; or roll the same out once more, on purpose, with: vagus retry \(name.name)")
    }
}
