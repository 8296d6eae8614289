import Testing

@testable import Experiments

@Suite struct FilterTests {
    private func parse(_ text: String) throws -> Filter? { try FilterParser.parse(text, .runs) }

    private func column(_ entity: FilterColumn.Entity, _ key: String) -> FilterColumn {
        FilterColumn(entity: entity, key: key)
    }

    @Test func `every way that MLflow writes a column means the same`() throws {
        for text in ["metrics.acc > 0.5", "metric.acc>0.5", "metrics.`acc` > .5", "metrics.\"acc\" > 0.5"] {
            #expect(try parse(text) == .compare(column(.metric, "acc"), .greater, .number(0.5)), "\(text)")
        }
        for text in ["created = 5", "attributes.start_time = 5", "run.Created = 5", "attr.`start_time` = 5"] {
            #expect(try parse(text) == .compare(column(.attribute, "start_time"), .equal, .integer(5)), "\(text)")
        }
        #expect(
            try parse("tags.mlflow.user = 'ana'") == .compare(column(.tag, "mlflow.user"), .equal, .text("ana")))
        #expect(
            try parse("params.`a b/c` != \"x\"") == .compare(column(.parameter, "a b/c"), .unequal, .text("x")))
        #expect(try parse("`run name` = 'x'") == .compare(column(.attribute, "run_name"), .equal, .text("x")))
    }

    @Test func `AND binds closer than OR, and parentheses closest`() throws {
        let (a, b, c) = ("tags.a = '1'", "tags.b = '2'", "tags.c = '3'")
        let (fa, fb, fc) = (try #require(try parse(a)), try #require(try parse(b)), try #require(try parse(c)))
        #expect(try parse("\(a) and \(b) Or \(c)") == .any([.all([fa, fb]), fc]))
        #expect(try parse("\(a) AND (\(b) OR \(c))") == .all([fa, .any([fb, fc])]))
        #expect(try parse("NOT \(a) AND \(b)") == .all([.not(fa), fb]))
        #expect(try parse("NOT (\(a) OR \(b))") == .not(.any([fa, fb])))
    }

    @Test func `BETWEEN, IN and IS NULL are for every column`() throws {
        let auc = column(.metric, "auc")
        #expect(
            try parse("metrics.auc BETWEEN 0.5 AND 1 AND tags.x IS NULL")
                == .all([
                    .between(auc, .number(0.5), .integer(1), isNegated: false),
                    .null(column(.tag, "x"), isNegated: false),
                ]))
        #expect(try parse("metrics.auc not in (1, 2.5,)") == .among(auc, [.integer(1), .number(2.5)], isNegated: true))
        #expect(try parse("metrics.auc IS NOT NULL") == .null(auc, isNegated: true))
    }

    @Test(arguments: [
        "metrics.a > 'x'", "params.a = 5", "params.a > '5'", "nope.a = '1'", "attributes.nope = 'x'", "metrics.a",
        "metrics.a >", "OR", "metrics.a LIKE 'x'", "tags.a = 'open", "= 5", "metrics.a > 1 OR", "(metrics.a > 1",
        "metrics.a > 1)", "()", "metrics.a > 1 AND ()", "params.a IN ()", "metrics.a BETWEEN 1", "tags.a IS 5", "NOT",
        "dataset.nope = 'x'", "a; DROP TABLE run", "metrics.a > 1; metrics.b > 2",
    ])
    func `what cannot be read is refused as an invalid parameter`(text: String) {
        #expect { _ = try parse(text) } throws: { ($0 as? MLflowError)?.code == .invalidParameter }
    }

    @Test func `depth, tests and lists have limits`() {
        let deep = String(repeating: "(", count: 60) + "tags.a = 'b'" + String(repeating: ")", count: 60)
        let many = Array(repeating: "tags.a = 'b'", count: 201).joined(separator: " AND ")
        let list = "tags.a IN (" + Array(repeating: "'x'", count: 5001).joined(separator: ",") + ")"
        let nots = String(repeating: "NOT ", count: 60) + "tags.a = 'b'"
        for text in [deep, many, list, nots, String(repeating: "x", count: 70_000)] {
            #expect(throws: MLflowError.self) { _ = try parse(text) }
        }
    }

    @Test func `an AND too few or too many is forgiven, as MLflow forgives it`() throws {
        let both = try parse("tags.a = '1' AND tags.b = '2'")
        #expect(try parse("tags.a = '1' tags.b = '2'") == both)
        #expect(try parse("AND tags.a = '1' AND AND tags.b = '2' AND") == both)
        #expect(try parse("AND") == nil)
    }

    @Test func `an empty filter is none`() throws {
        #expect(try parse("") == nil)
        #expect(try parse("  \n ") == nil)
    }

    @Test func `a LIKE becomes a GLOB in which only its own signs are signs`() {
        #expect(FilterSource.globbed(.text("a%b_c*d?e[f")) == "a*b?c[*]d[?]e[[]f")
    }

    @Test func `an order is read with its direction`() throws {
        let order = try OrderClause.parse(["metrics.`a b` DESC", "start_time", "params.x asc"], .runs)
        #expect(order.map(\.isAscending) == [false, true, true])
        #expect(order.map(\.column.key) == ["a b", "start_time", "x"])
        for wrong in ["metrics.a UP", "nope.a", "metrics.a DESC x", ""] {
            #expect(throws: MLflowError.self) { _ = try OrderClause.parse([wrong], .runs) }
        }
        #expect(throws: MLflowError.self) { _ = try OrderClause.parse(["metrics.a", "metrics.a DESC"], .runs) }
    }

    @Test(arguments: ["../x", "a/../b", "a//b", "/abs", ".", "..", "a?b", "a/", "./a", "a\\b"])
    func `keys that are paths to elsewhere are refused`(key: String) {
        #expect(throws: MLflowError.self) { try NameRules.check(key, at: "key") }
    }

    @Test(arguments: ["a", "a/b", "a b", "a.b-c:d_e", "é", "a/b/c.d"])
    func `plain keys are not`(key: String) throws { try NameRules.check(key, at: "key") }

    @Test(arguments: [
        "../x", "a/../x", "a/%2e%2e/x", "%252e%252e/x", "/etc/passwd", "a\\..\\b", "C:/x", "a#b", "a\u{0}b",
    ])
    func `paths of artifacts that leave their folder are refused`(path: String) {
        #expect(throws: MLflowError.self) { _ = try ArtifactPlaces.checked(path) }
    }

    @Test func `addresses of artifacts name a path of the proxy or none`() {
        #expect(ArtifactPlaces.path(of: "mlflow-artifacts:/0/run/artifacts") == "0/run/artifacts")
        #expect(ArtifactPlaces.path(of: "mlflow-artifacts://host:80/0/x") == "0/x")
        #expect(ArtifactPlaces.path(of: "s3://bucket/x") == nil)
    }
}
