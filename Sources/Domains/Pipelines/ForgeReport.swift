import API
import Foundation
import Manifests
import Outbound

/// The request by which a forge is told how a run on a commit stands; pure.
///
/// Sources: GitHub REST "Create a commit status"; GitLab "Set commit pipeline status"; Gitea "repoCreateStatus"; Bitbucket
/// Cloud "Create a build status for a commit".
enum ForgeReport {
    static func request(
        _ status: CommitStatus, _ forge: RemoteSpec.Forge, _ remote: RemoteSpec, token: String?, target: String?
    ) throws(Problem) -> HTTPRequest {
        guard let token else {
            throw Problem("forge.no-token", status: 422, "the secret \"\(remote.token ?? "")\" is not there")
        }
        let place = try Place(remote.url)
        let api = remote.api.map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 } ?? place.api(forge)
        let context = "vagus/\(status.pipeline)"
        let description = "#\(status.number) \(status.description)"
        var headers = [("Content-Type", "application/json"), ("User-Agent", "vagus")]
        var body: Ordered<JSONValue> = [:]
        let url: String
        switch forge {
        case .github, .gitea:
            url = "\(api)/repos/\(place.path)/statuses/\(status.commit)"
            let scheme = forge == .github ? "Bearer" : "token"
            headers.append(("Authorization", "\(scheme) \(token)"))
            if forge == .github {
                headers += [("Accept", "application/vnd.github+json"), ("X-GitHub-Api-Version", "2022-11-28")]
            }
            body = [
                "state": status.state.json, "context": .string(context),
                "description": .string(String(description.prefix(140))),
            ]
            if let target { body["target_url"] = .string(target) }
        case .gitlab:
            url = "\(api)/projects/\(place.path.replacing("/", with: "%2F"))/statuses/\(status.commit)"
            headers.append(("PRIVATE-TOKEN", token))
            let words: [CommitStatus.State: String] = [
                .pending: "pending", .success: "success", .failure: "failed", .error: "canceled",
            ]
            body = [
                "state": .string(words[status.state] ?? "pending"), "name": .string(context),
                "description": .string(String(description.prefix(255))),
            ]
            if let target { body["target_url"] = .string(target) }
        case .bitbucket:
            url = "\(api)/repositories/\(place.path)/commit/\(status.commit)/statuses/build"
            headers.append(("Authorization", "Bearer \(token)"))
            let words: [CommitStatus.State: String] = [
                .pending: "INPROGRESS", .success: "SUCCESSFUL", .failure: "FAILED", .error: "STOPPED",
            ]
            // Bitbucket wants an address, and takes keys of 40 characters.
            body = [
                "key": .string(String(context.prefix(40))), "state": .string(words[status.state] ?? "INPROGRESS"),
                "name": .string(context), "description": .string(String(description.prefix(255))),
                "url": .string(target ?? remote.url),
            ]
        }
        // The same report twice is one: each forge keeps the newest of a context.
        headers.append(("Idempotency-Key", "\(status.run)-\(status.state.rawValue)"))
        return HTTPRequest("POST", url: url, headers: headers, body: .bytes(JSONValue.object(body).bytes))
    }

    /// Host and path of a repository's address.
    struct Place: Equatable {
        var scheme: String
        var host: String
        var path: String

        /// Reads `https://HOST/OWNER/NAME.git`, `ssh://git@HOST/OWNER/NAME` and `git@HOST:OWNER/NAME.git`.
        init(_ url: String) throws(Problem) {
            var rest = url[...]
            scheme = "https"
            if let end = url.range(of: "://") {
                if url.hasPrefix("http://") { scheme = "http" }
                rest = url[end.upperBound...]
            } else if let colon = url.firstIndex(of: ":") {
                rest = (url[..<colon] + "/" + url[url.index(after: colon)...])[...]
            }
            let parts = rest.split(separator: "/").map(String.init)
            guard parts.count >= 3 else {
                throw Problem(
                    "forge.url", status: 422, "\"\(RemoteReconciler.public(url))\" names no repository of a forge",
                    hint: "Write it like https://HOST/OWNER/NAME.git.")
            }
            host = parts[0].split(separator: "@").last.map(String.init) ?? parts[0]
            let name = parts.dropFirst().joined(separator: "/")
            path = name.hasSuffix(".git") ? String(name.dropLast(4)) : name
        }

        func api(_ forge: RemoteSpec.Forge) -> String {
            switch forge {
            case .github: host == "github.com" ? "https://api.\(host)" : "\(scheme)://\(host)/api/v3"
            case .gitlab: "\(scheme)://\(host)/api/v4"
            case .gitea: "\(scheme)://\(host)/api/v1"
            case .bitbucket: "https://api.\(host)/2.0"
            }
        }
    }
}
