import API
import Manifests
import Testing

@testable import Client

@Suite struct ClientTests {
    @Test func `fields named in the path go there and the rest into the query`() {
        var query = ResourceQuery()
        (query.kind, query.labels) = ("services", "team=a b&c")
        let request = Wire.request(Resources.list, query.json)
        #expect(request.target == "/api/v1/projects/default/resources/services?labels=team%3Da%20b%26c")
        #expect(request.body == nil)
    }

    @Test func `what is posted goes into the body without what the path says`() {
        var input = RunInput()
        (input.project, input.pipeline) = ("shop", "train/all")
        input.parameters["rounds"] = 5
        let request = Wire.request(Runs.start, input.json)
        #expect(request.target == "/api/v1/projects/shop/pipelines/train%2Fall/runs")
        #expect(request.body?.text == #"{"parameters":{"rounds":5}}"#)
    }

    @Test(arguments: ["plain", "a b", "ä/ö?%&=+", "", "\n\u{0}"])
    func `percent-encoding survives a round trip`(text: String) {
        #expect(Wire.decode(Wire.encode(text)) == text)
    }

    @Test(arguments: ["%", "%4", "%zz", "%ff"])
    func `broken percent-encoding is nothing`(text: String) { #expect(Wire.decode(text) == nil) }
}
