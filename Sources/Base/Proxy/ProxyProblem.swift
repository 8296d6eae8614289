import NIOCore

/// An answer the proxy gives itself, as `{"error": …, "code": …, "hint": …}`.
struct ProxyProblem {
    var status: Int
    var code: String
    /// One lower-case clause without a full stop.
    var message: String
    /// A sentence that says what to do; may be empty.
    var hint = ""
    /// Whole seconds after which to try again.
    var retryAfter: Int?

    static func fault(_ fault: HTTPFault) -> ProxyProblem {
        ProxyProblem(status: fault.status, code: "proxy.bad-request", message: fault.message)
    }

    static let tooSlow = ProxyProblem(
        status: 408, code: "proxy.request-timeout", message: "the request did not arrive in time")

    static let noRoute = ProxyProblem(
        status: 404, code: "proxy.no-route", message: "no route for this host and path",
        hint: "Services and their paths are listed by: vagus get services")

    static func noEndpoint(_ service: String) -> ProxyProblem {
        ProxyProblem(
            status: 503, code: "proxy.no-endpoint", message: "no live endpoint of service \(quoted(service))",
            hint: "See how it is doing with: vagus status SERVICE", retryAfter: 1)
    }

    static func overloaded(_ service: String) -> ProxyProblem {
        ProxyProblem(
            status: 503, code: "proxy.overloaded",
            message: "service \(quoted(service)) has as many requests as it may have", retryAfter: 1)
    }

    static func tooMany(_ service: String, wait: Int) -> ProxyProblem {
        ProxyProblem(
            status: 429, code: "proxy.rate-limit", message: "too many requests for service \(quoted(service))",
            retryAfter: max(1, wait))
    }

    static func unreachable(_ service: String) -> ProxyProblem {
        ProxyProblem(
            status: 502, code: "proxy.unreachable", message: "could not connect to service \(quoted(service))",
            hint: "See how it is doing with: vagus status SERVICE")
    }

    static func broken(_ service: String, _ what: String) -> ProxyProblem {
        ProxyProblem(status: 502, code: "proxy.bad-gateway", message: "service \(quoted(service)) \(what)")
    }

    static func timeout(_ service: String) -> ProxyProblem {
        ProxyProblem(
            status: 504, code: "proxy.timeout", message: "service \(quoted(service)) did not answer in time")
    }

    private static func quoted(_ name: String) -> String { "\"\(name)\"" }

    /// The whole response.
    func response(requestID: RequestID?, closes: Bool, isHEAD: Bool) -> ByteBuffer {
        var body = "{\"error\":\(Self.json(message)),\"code\":\(Self.json(code))"
        if !hint.isEmpty { body += ",\"hint\":\(Self.json(hint))" }
        body += "}\n"
        var out = ByteBuffer()
        out.writeString("HTTP/1.1 \(status) \(Self.reason(status))\r\nContent-Type: application/json\r\n")
        out.writeString("Content-Length: \(body.utf8.count)\r\n")
        if let retryAfter { out.writeString("Retry-After: \(retryAfter)\r\n") }
        if let requestID {
            out.writeStaticString("X-Request-ID: ")
            requestID.write(to: &out)
            out.writeStaticString("\r\n")
        }
        if closes { out.writeStaticString("Connection: close\r\n") }
        out.writeStaticString("\r\n")
        if !isHEAD { out.writeString(body) }
        return out
    }

    private static func json(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    private static func reason(_ status: Int) -> String {
        switch status {
        case 400: "Bad Request"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 417: "Expectation Failed"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        default: "Error"
        }
    }
}
