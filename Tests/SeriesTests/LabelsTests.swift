import Testing

@testable import Series

@Suite struct LabelsTests {
    @Test func `pairs are sorted, the last of a name wins, and an empty value is none`() {
        let labels = Labels([("job", "a"), ("__name__", "up"), ("zone", ""), ("job", "b")])
        #expect(labels.pairs.map(\.name) == ["__name__", "job"])
        #expect(labels["job"] == "b")
        #expect(labels["zone"] == nil)
        #expect(labels.metricName == "up")
        #expect(labels.description == #"up{job="b"}"#)
    }

    @Test func `equal labels are equal however they were given`() {
        #expect(Labels(["a": "1", "b": "2"]) == Labels([("b", "2"), ("a", "1")]))
        #expect(Labels(["a": "1"]) != Labels(["a": "2"]))
    }

    @Test func `order is by name, then value, and the shorter comes first`() {
        let sorted = [
            Labels.none, Labels(["a": "1"]), Labels(["a": "1", "b": "1"]), Labels(["a": "10"]), Labels(["a": "2"]),
            Labels(["b": "0"]),
        ]
        #expect(sorted.shuffled().sorted() == sorted)
    }

    @Test func `a value of many bytes keeps its length`() {
        let long = String(repeating: "ä", count: 5_000)
        let labels = Labels(["long": long, "z": "1"])
        #expect(labels["long"] == long)
        #expect(labels["z"] == "1")
        #expect(labels.with("long", nil) == Labels(["z": "1"]))
    }

    @Test func `without its name a series keeps the rest`() {
        #expect(Labels(["__name__": "up", "a": "1"]).withoutMetricName == Labels(["a": "1"]))
    }
}
