import API
import Kernel
import Manifests
import Proxy
import Testing

@testable import Routers

/// What a table of routes is in the words of the Gateway API.
@Suite struct GatewayRoutesTests {
    private let place = GatewayRoutes.Place(namespace: "shop", gateway: ("infra", "public"), owner: "proxy")

    private func objects(_ edit: (inout Route) -> Void = { _ in }) throws -> GatewayRoutes {
        var route = Route(
            service: "default/web", path_prefix: "/shop/", strip_prefix: true,
            revisions: [
                RevisionRoute(
                    revision: "1", weight: 90,
                    endpoints: [
                        Endpoint(host: "10.0.0.1", port: 8080, instance: "a"),
                        Endpoint(host: "fd00::1", port: 8080, instance: "b"),
                        Endpoint(host: "10.0.0.2", port: 9090, instance: "c"),
                    ]),
                RevisionRoute(
                    revision: "2", weight: 10, endpoints: [Endpoint(host: "10.0.0.3", port: 8080, instance: "d")]),
            ])
        edit(&route)
        return try GatewayRoutes(RouteTable(version: 1, routes: [route]), place)
    }

    private func rules(_ routes: GatewayRoutes) -> [JSONValue] {
        routes.routes.values.first?["spec"]?["rules"]?.array ?? []
    }

    @Test func `each port and family of addresses of a revision is a slice of its Service`() throws {
        let kinds = try objects().backends.values.compactMap { $0["kind"]?.string }.sorted()
        #expect(kinds == ["EndpointSlice", "EndpointSlice", "EndpointSlice", "EndpointSlice", "Service", "Service"])
        for object in try objects().backends.values where object["kind"] == "EndpointSlice" {
            let host = object["endpoints"]?[0]?["addresses"]?[0]?.string ?? ""
            let family: JSONValue = host.contains(":") ? "IPv6" : "IPv4"
            #expect(object["addressType"] == family)
            #expect(object["metadata"]?["labels"]?["kubernetes.io/service-name"] != nil)
        }
        for path in try objects().backends.keys {
            let name = path.split(separator: "/").last ?? ""
            #expect(name.count <= 63 && name.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "-" }, "\(name)")
        }
    }

    @Test func `an arm, whose number is below zero, has labels that a cluster takes`() throws {
        let backends = try objects { $0.revisions[1].revision = "-1001" }.backends.values
        let labels = backends.compactMap { $0["metadata"]?["labels"]?["vagus/revision"]?.string }
        #expect(Set(labels) == ["1", "a1001"])
    }

    @Test func `rules come before shares, and have the match of the route`() throws {
        let found = try rules(
            objects { route in
                route.rules = [
                    TrafficRule(
                        name: "staff",
                        when: [.init(header: "X-Staff", exact: "yes"), .init(cookie: "group", prefix: "a.b")],
                        revision: "2")
                ]
            })
        #expect(found.count == 2)
        #expect(found[0]["backendRefs"]?.array?.count == 1 && found[1]["backendRefs"]?.array?.count == 2)
        #expect(found[0]["matches"]?[0]?["path"] == ["type": "PathPrefix", "value": "/shop"])
        let headers = found[0]["matches"]?[0]?["headers"]
        #expect(headers?[0] == ["type": "Exact", "name": "X-Staff", "value": "yes"])
        let pattern = headers?[1]?["value"]?.string ?? ""
        #expect(pattern == #"^(?:(?:.*;)?[ \t]*group=(?:a\.b[^;]*)[ \t]*(?:;.*)?)$"#)
    }

    @Test func `a revision without copies has no Service, and a route without any is not there`() throws {
        let without = try objects { $0.revisions[1].endpoints = [] }
        #expect(without.backends.values.filter { $0["kind"] == "Service" }.count == 1)
        #expect(rules(without).first?["backendRefs"]?.array?.count == 1)
        let none = try objects { route in
            for index in route.revisions.indices { route.revisions[index].endpoints = [] }
        }
        #expect(none == GatewayRoutes())
    }

    @Test func `what a Gateway would do another way is refused`() throws {
        let first = TrafficRule(name: "a", when: [.init(header: "a", exact: "1")], revision: "1")
        let second = TrafficRule(
            name: "b", when: [.init(header: "a", exact: "1"), .init(header: "b", exact: "1")], revision: "2")
        let absent = TrafficRule(name: "c", when: [.init(header: "a", present: false)], revision: "2")
        for rules in [[first, second], [absent], Array(repeating: first, count: 16)] {
            let problem = #expect(throws: Problem.self) { try objects { $0.rules = rules } }
            #expect(problem?.code == "router.cannot")
        }
        #expect(try rules(objects { $0.rules = [second, first] }).count == 3)
    }
}
