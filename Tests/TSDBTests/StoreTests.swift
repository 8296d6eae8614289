import Series
import Testing

@testable import TSDB

@Suite struct StoreTests {
    @Test func `what was appended is found, also after opening again`() throws {
        let folder = try Folder()
        let labels = Labels(["__name__": "up", "job": "api"])
        do {
            let store = try TSDB(folder: folder.path)
            var batch = Batch()
            for step in 0..<500 { batch.add(labels, Int64(step) * 15_000, Double(step)) }
            let result = try store.append(batch)
            #expect(result.accepted == 500)
            #expect(try store.all()[labels]?.values == (0..<500).map(Double.init))
        }
        let store = try TSDB(folder: folder.path)
        let found = try store.all([LabelMatcher("job", .matches, "a.*")])
        #expect(found[labels]?.values == (0..<500).map(Double.init))
        #expect(found[labels]?.times == (0..<500).map { Int64($0) * 15_000 })
    }
}
