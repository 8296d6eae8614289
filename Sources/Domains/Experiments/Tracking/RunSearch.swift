import SQL

/// A search of runs.
///
/// The order decides how it goes through the runs. By a metric, param or tag it walks that one's index, so that a page is found without
/// sorting what lies behind it: first the runs that have a value, then those with NaN, last those without. Otherwise it walks the runs
/// by their start. A test that few runs pass is looked up first instead, and its runs are sorted.
struct RunSearch: Sendable {
    /// Numbers of experiments that are there and may be seen.
    var experiments: [Int64]
    /// Whether deleted runs, others, or both.
    var stages: [Bool]
    var filter: Filter?
    var order: [OrderClause]
    var limit: Int
    /// Where the page before ended.
    var place: [SQLValue]?

    /// A found run: its row, its revision, and its place in the order.
    struct Hit: Sendable {
        var id: Int64
        var revision: Int64
        var place: [SQLValue]
    }

    /// Runs that pass a test are few when they are less than this.
    static let few = 2000

    func run(in sql: Connection) throws -> SearchPage<Hit> {
        guard !experiments.isEmpty else { return SearchPage(items: []) }
        let names = KeyNumbers(sql)
        var hits: [Hit] = []
        for var pass in try passes(names, in: sql) {
            guard hits.count <= limit else { break }
            if let place, case .integer(let rank)? = place.first {
                if let fixed = pass.rank, fixed < rank { continue }
                if pass.rank == nil || pass.rank == rank { pass.conditions.append(pass.order.after(place)) }
            }
            pass.conditions += try conjuncts.map { try pass.source.condition($0) }
            hits += try read(pass, limit: limit + 1 - hits.count, in: sql)
        }
        guard hits.count > limit else { return SearchPage(items: hits) }
        hits.removeLast(hits.count - limit)
        return SearchPage(items: hits, next: hits.last?.place)
    }

    /// What must hold, the tests first that are cheap and that few pass: a param or tag that is equal to something.
    private var conjuncts: [Filter] {
        func rank(_ filter: Filter) -> Int {
            switch filter {
            case .compare(let column, .equal, _): column.entity == .metric ? 1 : 0
            case .compare: 1
            default: 2
            }
        }
        let parts = (filter?.conjuncts ?? []).map { (rank($0), $0) }
        return (0...2).flatMap { level in parts.filter { $0.0 == level }.map(\.1) }
    }

    private func read(_ pass: Pass, limit: Int, in sql: Connection) throws -> [Hit] {
        var hits: [Hit] = []
        try sql.each(
            """
            SELECT r.id, r.revision, \(pass.order.columns) FROM \(pass.from)
            WHERE \(pass.conditions.joined(separator: " AND ")) \(pass.order.clause(first: 3)) LIMIT \(limit)
            """
        ) { row in
            let place = (2..<row.count).map { row[$0] }
            hits.append(Hit(id: try row.get(0), revision: try row.get(1), place: place))
        }
        return hits
    }
}

/// One walk through a part of the runs.
private struct Pass {
    var from: Statement
    var conditions: [Statement]
    var order: SearchOrder
    /// Where filters find what they test.
    var source: FilterSource
    /// The rank of the first clause that all runs of this part have; nil: they have any.
    var rank: Int64?
}

/// Numbers of keys, looked up once.
struct KeyNumbers {
    private let sql: Connection
    init(_ sql: Connection) { self.sql = sql }
    func callAsFunction(_ key: String) throws -> Int64 { try sql.number(of: key) }
}

extension RunSearch {
    /// Where the columns of filters of runs lie.
    ///
    /// - Parameter run: The number of the tested run; from the index that is walked, where one is, so that a run that does not pass is not
    ///   even looked up.
    private static func source(_ names: KeyNumbers, run: Statement = "r.id", experiment: Statement = "r.experiment")
        -> FilterSource
    {
        func rows(_ table: Statement, _ column: FilterColumn) throws -> Statement {
            "FROM \(table) x WHERE x.run = \(run) AND x.key = \(try names(column.key))"
        }
        return FilterSource(
            attribute: attribute, isNullable: { $0 == "end_time" },
            rows: { column in
                switch column.entity {
                case .metric: return (try rows("metric", column), "x.value", "x.is_nan")
                case .parameter: return (try rows("param", column), "x.value", nil)
                case .dataset:
                    let cell: Statement =
                        column.key == "name" ? "d.name" : column.key == "digest" ? "d.digest" : "i.context"
                    return ("FROM input i JOIN dataset d ON d.id = i.dataset WHERE i.run = \(run)", cell, nil)
                // The others are of traces: no filter of runs has them.
                default: return (try rows("tag", column), "x.value", nil)
                }
            },
            exact: { column, value in
                // Among the rows of one value the next run is near, among all rows of runs it is far.
                let table: Statement
                switch column.entity {
                case .parameter: table = "param x INDEXED BY param_by_value"
                case .tag: table = "tag x INDEXED BY tag_by_value"
                default: return nil
                }
                return
                    "FROM \(table) WHERE x.experiment = \(experiment) AND x.key = \(try names(column.key)) AND x.value = \(value.sql) AND x.run = \(run)"
            })
    }

    private static func attribute(_ name: String) -> Statement {
        switch name {
        case "artifact_uri": "r.artifact_uri"
        case "run_id": "r.uuid"
        case "run_name": "r.name"
        case "status": "r.status"
        case "user_id": "r.user"
        case "end_time": "r.ended"
        default: "r.start"
        }
    }

    private func experiment(_ column: Statement) -> Statement {
        experiments.count == 1 ? "\(column) = \(experiments[0])" : "\(column) IN \(list: experiments)"
    }

    private var stage: Statement {
        stages.count == 1 ? "r.is_deleted = \(stages[0])" : "r.is_deleted IN \(list: stages)"
    }

    private func passes(_ names: KeyNumbers, in sql: Connection) throws -> [Pass] {
        let ties = [
            OrderTerm(value: "r.start", isAscending: false), OrderTerm(value: "r.uuid", isAscending: true),
        ].dropFirst(order.contains { $0.column == FilterColumn(entity: .attribute, key: "start_time") } ? 1 : 0)
        let rest = try order.map { try term($0, names) }
        if let few = try fewRuns(names, in: sql) {
            return [
                Pass(
                    from: "run r", conditions: ["r.id IN (\(few))", experiment("+r.experiment"), stage],
                    order: SearchOrder(terms: rest + ties), source: Self.source(names))
            ]
        }
        guard let first = order.first, first.column.entity != .attribute, first.column.entity != .dataset else {
            return [
                Pass(
                    from: "run r", conditions: [experiment("r.experiment"), stage],
                    order: SearchOrder(terms: rest + ties), source: Self.source(names))
            ]
        }
        return try indexed(first, names, rest: rest.dropFirst() + ties)
    }

    /// The passes along the index of a metric, param or tag.
    private func indexed(
        _ first: OrderClause, _ names: KeyNumbers, rest: ArraySlice<OrderTerm>
    ) throws -> [Pass] {
        let key = try names(first.column.key)
        let table: Statement =
            first.column.entity == .metric ? "metric" : first.column.entity == .parameter ? "param" : "tag"
        let present: Statement = "\(table) f CROSS JOIN run r ON r.id = f.run"
        let base = [experiment("f.experiment"), "f.key = \(key)", stage]
        // Tests of the same key that must hold bound the walk.
        let own = (filter?.conjuncts ?? []).compactMap { part -> (FilterComparator, FilterValue)? in
            guard case .compare(first.column, let comparator, let value) = part else { return nil }
            return (comparator, value)
        }
        let bounds = own.filter { $0.0 != .unequal && $0.0 != .like && $0.0 != .ilike }
        let tests = bounds.map { FilterSQL.compare("f.value", $0.0, $0.1) }
        let terms = { (term: OrderTerm) in SearchOrder(terms: [term] + rest) }
        let sorted = OrderTerm(fixedRank: 0, value: "f.value", isAscending: first.isAscending)
        let source = Self.source(names, run: "f.run", experiment: "f.experiment")
        var passes: [Pass] = []
        if first.column.entity == .metric {
            passes.append(
                Pass(
                    from: present, conditions: base + ["f.is_nan = 0"] + tests, order: terms(sorted), source: source,
                    rank: 0))
            if bounds.isEmpty {
                let equal = OrderTerm(fixedRank: 1, value: nil, isAscending: true)
                passes.append(
                    Pass(
                        from: present, conditions: base + ["f.is_nan = 1"], order: terms(equal), source: source, rank: 1
                    ))
            }
        } else {
            passes.append(Pass(from: present, conditions: base + tests, order: terms(sorted), source: source, rank: 0))
        }
        if own.isEmpty {
            let absent: Statement = "NOT EXISTS (SELECT 1 FROM \(table) f WHERE f.run = r.id AND f.key = \(key))"
            passes.append(
                Pass(
                    from: "run r", conditions: [experiment("r.experiment"), stage, absent],
                    order: terms(OrderTerm(fixedRank: 2, value: nil, isAscending: true)), source: Self.source(names),
                    rank: 2))
        }
        return passes
    }

    /// A clause as a term that holds whatever rows are walked.
    private func term(_ clause: OrderClause, _ names: KeyNumbers) throws -> OrderTerm {
        let column = clause.column
        if column.entity == .attribute {
            let cell = Self.attribute(column.key)
            let rank: Statement? = column.key == "end_time" ? "(r.ended IS NULL) * 2" : nil
            return OrderTerm(rank: rank, value: cell, isAscending: clause.isAscending)
        }
        guard column.entity != .dataset else {
            throw MLflowError.invalid("Invalid identifier type 'dataset'")
        }
        let source = try Self.source(names).rows(column)
        let value: Statement = "(SELECT \(source.value) \(source.rows))"
        let rank: Statement =
            column.entity == .metric
            ? "coalesce((SELECT x.is_nan \(source.rows)), 2)"
            : "coalesce((SELECT 0 \(source.rows)), 2)"
        return OrderTerm(rank: rank, value: value, isAscending: clause.isAscending)
    }

    /// The runs that pass one test of the filter, when those are few.
    private func fewRuns(_ names: KeyNumbers, in sql: Connection) throws -> Statement? {
        for part in filter?.conjuncts ?? [] {
            guard let rows = try runs(passing: part, names) else { continue }
            let count: Int =
                try sql.value("SELECT count(*) FROM (SELECT 1 \(rows) LIMIT \(Self.few))") ?? 0
            if count < Self.few { return "SELECT x.run \(rows)" }
        }
        return nil
    }

    /// The rows of an index that pass a test, when one is made for it.
    private func runs(passing part: Filter, _ names: KeyNumbers) throws -> Statement? {
        if case .compare(FilterColumn(entity: .attribute, key: "run_id"), .equal, .text(let uuid)) = part {
            return "FROM (SELECT id AS run FROM run WHERE uuid = \(uuid)) x"
        }
        if case .among(FilterColumn(entity: .attribute, key: "run_id"), let uuids, isNegated: false) = part {
            return "FROM (SELECT id AS run FROM run WHERE uuid IN \(list: uuids.map(\.sql))) x"
        }
        guard case .compare(let column, let comparator, let value) = part,
            comparator == .equal || (comparator.isOrder && column.entity == .metric)
        else { return nil }
        let test = FilterSQL.compare("x.value", comparator, value)
        switch column.entity {
        case .metric:
            return
                "FROM metric x WHERE \(experiment("x.experiment")) AND x.key = \(try names(column.key)) AND x.is_nan = 0 AND \(test)"
        case .parameter:
            return "FROM param x WHERE \(experiment("x.experiment")) AND x.key = \(try names(column.key)) AND \(test)"
        case .tag:
            return "FROM tag x WHERE \(experiment("x.experiment")) AND x.key = \(try names(column.key)) AND \(test)"
        default: return nil
        }
    }
}

/// Short for the tests of a filter.
private typealias FilterSQL = FilterSource
