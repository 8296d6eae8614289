import Manifests

/// What an Envoy is started with: its admin page, and where to ask for everything else.
enum EnvoyBootstrap {
    /// The bootstrap, as JSON; `port` is where we listen, which the settings may leave open.
    static func configuration(_ settings: EnvoyRouter.Settings, port: Int) -> JSONValue {
        var service: Ordered<JSONValue> = ["envoy_grpc": ["cluster_name": "vagus"]]
        if let token = settings.token {
            service["initial_metadata"] = [["key": "authorization", "value": .string("Bearer \(token)")]]
        }
        let source: JSONValue = ["resource_api_version": "V3", "ads": [:]]
        return [
            "node": ["id": "vagus", "cluster": "vagus"],
            "admin": ["address": address(settings.admin.host, settings.admin.port)],
            "dynamic_resources": [
                "ads_config": [
                    "api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [.object(service)],
                ],
                "cds_config": source, "lds_config": source,
            ],
            "static_resources": ["clusters": [cluster(settings.listen.host, port)]],
        ]
    }

    private static func cluster(_ host: String, _ port: Int) -> JSONValue {
        [
            "name": "vagus", "type": "STRICT_DNS", "connect_timeout": "1s",
            "typed_extension_protocol_options": [
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": [
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": ["http2_protocol_options": [:]],
                ]
            ],
            "load_assignment": [
                "cluster_name": "vagus",
                "endpoints": [["lb_endpoints": [["endpoint": ["address": address(host, port)]]]]],
            ],
        ]
    }

    private static func address(_ host: String, _ port: Int) -> JSONValue {
        ["socket_address": ["address": .string(host), "port_value": .integer(Int64(port))]]
    }
}
