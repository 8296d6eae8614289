/// How to send here what others measure: exact addresses and settings, for this server as the browser reached it.
struct SendHere: Sendable {
    struct Way: Sendable {
        let title: String
        let text: String
        let code: String
    }
    let ways: [Way]
    let authNote: String?

    init(_ request: WebRequest) {
        // Hosts come from the request; only what can stand in a host is written into settings that people copy.
        let host = (request.headers["host"] ?? "").filter {
            $0.isASCII && ($0.isLetter || $0.isNumber || ".:-[]".contains($0))
        }
        let base = "\(request.isSecure ? "https" : "http")://\(host.isEmpty ? "HOST:8420" : host)"
        let token = request.hasAuth
        authNote =
            token
            ? "A token that may write is sent as bearer token, or as the password of basic authentication: vagus token create NAME --permission write."
            : nil
        ways = [
            Way(
                title: "Prometheus sends its samples", text: "In prometheus.yml:",
                code: "remote_write:\n  - url: \(base)/prometheus/api/v1/write\n"
                    + (token ? "    authorization:\n      credentials: TOKEN\n" : "")),
            Way(
                title: "Vagus scrapes a target",
                text: "As telemetry.yaml, then: vagus apply -f telemetry.yaml",
                code:
                    "kind: Telemetry\nname: scraping\nmetrics:\n  scrape:\n    - job: node\n      targets: [localhost:9100]\n"
            ),
            Way(
                title: "An OpenTelemetry SDK sends metrics, log lines and spans", text: "In the program's environment:",
                code: "OTEL_EXPORTER_OTLP_ENDPOINT=\(base)/otlp\nOTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\n"
                    + (token ? "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20TOKEN\n" : "")),
            Way(
                title: "promtail sends log lines", text: "In its configuration:",
                code: "clients:\n  - url: \(base)/loki/api/v1/push\n" + (token ? "    bearer_token: TOKEN\n" : "")),
            Way(
                title: "A script sends one value", text: "In a shell:",
                code: "echo 'backup_last_success_seconds '$(date +%s) | curl --data-binary @- "
                    + (token ? "-H 'Authorization: Bearer TOKEN' " : "") + "\(base)/api/v1/metrics/push/job/backup\n"),
            Way(
                title: "Grafana asks here", text: "Addresses of the data sources:",
                code: "Prometheus: \(base)/prometheus\nLoki:       \(base)\nJaeger:     \(base)/jaeger\n"),
        ]
    }
}
