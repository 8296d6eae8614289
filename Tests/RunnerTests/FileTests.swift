import API
import Blobs
import Foundation
import Kernel
import Manifests
import Processes
import Synchronization
import Testing

@testable import Runner

/// Checkout, caches, artifacts.
@Suite struct FileTests {
    /// Runs a script in a folder of the server; gives what it printed.
    private static func bash(_ script: String, in folder: String) async throws -> String {
        try JobFolder.make(folder)
        let output = Mutex("")
        let ended = try await Processes.run(
            Command(
                executable: "bash", arguments: ["-ec", script],
                environment: [
                    "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "HOME": folder,
                    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
                    "GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_NOSYSTEM": "1",
                ],
                directory: folder)
        ) { chunk in output.withLock { $0 += String(decoding: chunk.bytes, as: UTF8.self) } }
        let text = output.withLock { $0 }
        try #require(ended.isSuccess, "\(text)")
        return text
    }

    private static func checkout(_ settings: JSONValue, _ origin: String, _ commit: String) -> StepOrder {
        var order = StepOrder()
        (order.verb, order.name, order.settings) = ("checkout", "checkout", settings)
        (order.repository, order.commit) = (origin, commit)
        return order
    }

    private static func lease(_ orders: [StepOrder], _ scripts: [String]) -> Lease {
        FakeServer.lease(orders.map { _ in "" } + scripts) { lease in
            for (index, order) in orders.enumerated() {
                lease.steps[index] = order
                lease.steps[index].index = index
            }
        }
    }

    @Test func `checkout brings submodules, lies where it is told, and leaves no credentials`() async throws {
        let server = try FakeServer()
        let script = """
            mkdir inner outer; cd inner; git init -q -b main .; echo deep > d; git add d; git commit -qm i
            cd ../outer; git init -q -b main .; git -c protocol.file.allow=always submodule --quiet add ../inner lib
            git commit -qam o; git rev-parse HEAD
            """
        let commit = String(try await Self.bash(script, in: "\(server.folder)/git").prefix(40))
        let order = Self.checkout(
            ["submodules": "recursive", "path": "src/app"], "\(server.folder)/git/outer", commit)
        var lease = Self.lease(
            [order],
            ["cat src/app/lib/d; grep -c 'Basic\\|canary' src/app/.git/config || true; env | grep -c GIT_ || true"])
        lease.token = "canary"
        try await server.work([lease])
        #expect(server.text.hasSuffix("checked out \(commit)\n── step 2/2: step 1\ndeep\n0\n0\n"), "\(server.text)")
    }

    @Test func `checkout works over an earlier one that was killed, and leaves nothing of it`() async throws {
        let server = try FakeServer()
        let script = """
            git init -q -b main .; echo one > f; git add f; git commit -qm 1; git rev-parse HEAD
            echo two > f; git commit -qam 2; git rev-parse HEAD
            """
        let commits = try await Self.bash(script, in: "\(server.folder)/git").split(separator: "\n").map(String.init)
        let origin = "\(server.folder)/git"
        let dirt = """
            echo changed > f; echo junk > junk; touch .git/index.lock
            printf '#!/bin/sh\\necho HOOK\\n' > .git/hooks/post-checkout; chmod +x .git/hooks/post-checkout
            """
        var lease = Self.lease(
            [Self.checkout([:], origin, commits[0]), Self.checkout([:], origin, commits[1])],
            [dirt, "cat f; ls"])
        lease.steps.swapAt(1, 2)
        for index in lease.steps.indices { lease.steps[index].index = index }
        try await server.work([lease])
        #expect(
            server.text.hasSuffix("── step 4/4: step 3\ntwo\nf\n") && !server.text.contains("HOOK"), "\(server.text)")
    }

    /// Three commits, a tag before the last and one before that, and a branch beside.
    private static let tagged = """
        git init -q -b main .; git commit -q --allow-empty -m 1; git tag v1; git branch topic
        git commit -q --allow-empty -m 2; git tag -a v2 -m v2; git commit -q --allow-empty -m 3; git rev-parse HEAD
        """
    private static let lookAround = """
        git describe --tags 2>/dev/null | sed 's/-g.*//' | grep . || echo none
        git branch -r --format='%(refname:short)'; git tag; git rev-list --count HEAD
        """

    @Test(
        arguments: [
            (["depth": 0], "v2-1\norigin/main\norigin/topic\nv1\nv2\n3\n"),
            (["depth": 0, "tags": false], "none\norigin/main\norigin/topic\n3\n"),
            (["tags": true], "none\nv1\nv2\n1\n"), ([:], "none\n1\n"),
        ] as [(JSONValue, String)])
    func `a checkout of all history has its branches and tags`(settings: JSONValue, told: String) async throws {
        let server = try FakeServer()
        let commit = String(try await Self.bash(Self.tagged, in: "\(server.folder)/git").prefix(40))
        let order = Self.checkout(settings, "file://\(server.folder)/git", commit)
        try await server.work([Self.lease([order], [Self.lookAround])])
        #expect(server.text.hasSuffix("── step 2/2: step 1\n\(told)"), "\(server.text)")
    }

    @Test func `all of history comes over an earlier checkout that had less, and other refs`() async throws {
        let server = try FakeServer()
        let commit = String(try await Self.bash(Self.tagged, in: "\(server.folder)/git").prefix(40))
        let origin = "file://\(server.folder)/git"
        var lease = Self.lease(
            [Self.checkout([:], origin, commit), Self.checkout(["depth": 0], origin, commit)],
            ["git tag v1/old; git update-ref refs/remotes/origin/topic/old HEAD", Self.lookAround])
        lease.steps.swapAt(1, 2)
        for index in lease.steps.indices { lease.steps[index].index = index }
        try await server.work([lease])
        #expect(server.text.hasSuffix("v2-1\norigin/main\norigin/topic\nv1\nv2\n3\n"), "\(server.text)")
    }

    @Test func `history without a tag is no error`() async throws {
        let server = try FakeServer()
        let script = "git init -q -b main .; git commit -q --allow-empty -m 1; git rev-parse HEAD"
        let commit = String(try await Self.bash(script, in: "\(server.folder)/git").prefix(40))
        let order = Self.checkout(["depth": 0, "tags": true], "\(server.folder)/git", commit)
        try await server.work([Self.lease([order], ["git tag; git branch -r --format='%(refname:short)'"])])
        #expect(server.text.hasSuffix("\norigin/main\n"), "\(server.text)")
    }

    @Test func `a commit that is not there fails the step with git's own words`() async throws {
        let server = try FakeServer()
        _ = try await Self.bash("git init -q -b main .; git commit -q --allow-empty -m 1", in: "\(server.folder)/git")
        let absent = String(repeating: "ab", count: 20)
        try await server.work([Self.lease([Self.checkout([:], "\(server.folder)/git", absent)], [])])
        #expect(server.steps[0].status == .failed && server.steps[0].reason?.hasPrefix("git fetch: ") == true)
    }

    @Test func `without git-lfs a checkout that needs it says so`() async throws {
        let server = try FakeServer()
        _ = try await Self.bash("git init -q -b main .; git commit -q --allow-empty -m 1", in: "\(server.folder)/git")
        let commit = String(
            try await Self.bash("git rev-parse HEAD", in: "\(server.folder)/git").prefix(40))
        // A PATH with git in it and nothing that could be its extension.
        let bin = "\(server.folder)/bin"
        _ = try await Self.bash("ln -s \"$(command -v git)\" \"$(command -v sh)\" .", in: bin)
        var order = Self.checkout(["lfs": true], "\(server.folder)/git", commit)
        order.environment = ["PATH": bin, "GIT_EXEC_PATH": bin]
        try await server.work([Self.lease([order], [])])
        #expect(server.steps[0].reason == "this runner has no git-lfs, which `lfs: true` needs")
    }

    // MARK: Caches

    private static func cacheLease(_ number: Int, _ key: String, _ script: String) -> Lease {
        FakeServer.lease([script]) { lease in
            lease.run = "run_\(number)"
            var cache = CacheSpec()
            (cache.key, cache.restore, cache.paths) = (key, ["deps-"], ["deps"])
            lease.cache = [cache]
        }
    }

    @Test func `a cache is kept once by its key and begun with by key or prefix`() async throws {
        let server = try FakeServer()
        try await server.work([
            Self.cacheLease(
                1, "deps-1", "mkdir -p deps/bin; echo one > deps/x; ln -s ../x deps/bin/x; ln -s /etc deps/out")
        ])
        #expect(server.text.contains("cache deps-1: nothing kept yet\n"))
        #expect(server.text.contains("cache deps-1: kept, 2 files, 4 bytes in "))
        server.state.withLock { ($0.output, $0.ended) = ([], []) }
        let script = "cat deps/x deps/bin/x; [ ! -e deps/out ]; echo more > deps/y"
        try await server.work([Self.cacheLease(2, "deps-1", script)])
        #expect(server.text.contains("cache deps-1: restored, 4 bytes in "))
        #expect(server.text.contains("\none\none\n") && server.text.contains("cache deps-1: is kept already\n"))
        server.state.withLock { ($0.output, $0.ended) = ([], []) }
        try await server.work([Self.cacheLease(3, "deps-2", script)])
        #expect(server.text.contains("cache deps-2: restored from deps-1, 4 bytes in "), "\(server.text)")
        #expect(server.state.withLock { $0.caches.map(\.key) } == ["deps-1", "deps-2"])
    }

    @Test func `a cache's key is hashed from the files of the checkout, before steps change them`() async throws {
        let server = try FakeServer()
        let script = "git init -q -b main .; echo 1 > lock; git add lock; git commit -qm 1; git rev-parse HEAD"
        let commit = String(try await Self.bash(script, in: "\(server.folder)/git").prefix(40))
        var lease = Self.lease(
            [Self.checkout([:], "\(server.folder)/git", commit)], ["mkdir deps; echo x > deps/x; echo 2 > lock"])
        var cache = CacheSpec()
        (cache.key, cache.paths) = ("deps-${{ hashFiles('lock') }}", ["deps"])
        lease.cache = [cache]
        try await server.work([lease])
        let hash = try FileHash.hash(of: ["lock"], in: "\(server.folder)/git")
        #expect(server.state.withLock { $0.caches.map(\.key) } == ["deps-\(hash)"])
    }

    @Test func `whatever is wrong with a cache, the job goes on`() async throws {
        let server = try FakeServer()
        let (odd, _) = try await server.blobs.put(bytes: Array("no tree".utf8))
        server.state.withLock { state in
            var entry = CacheEntry()
            (entry.key, entry.digest) = ("deps-1", odd.text)
            state.caches = [entry]
        }
        let lease = FakeServer.lease(["echo worked"]) { lease in
            var (cache, other) = (CacheSpec(), CacheSpec())
            (cache.key, cache.paths) = ("deps-1", ["deps"])
            (other.key, other.paths) = ("${{ nonsense( }}", ["deps"])
            lease.cache = [cache, other]
        }
        try await server.work([lease])
        #expect(server.text.contains("! cache deps-1: ") && server.text.contains("! cache ${{ nonsense( }}: "))
        #expect(server.ended.first?.status == .succeeded && server.text.contains("worked"))
    }

    // MARK: Artifacts

    @Test func `artifacts leave out what they exclude, heed how the job ended, and may be missed`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease(["mkdir -p out/tmp; echo a > out/a; echo b > out/b; echo t > out/tmp/t; exit 3"]) {
            var most = ArtifactSpec.of("most", ["out"])
            (most.exclude, most.when) = (["out/tmp", "out/b"], .failure)
            var well = ArtifactSpec.of("well", ["out"])
            well.when = .success
            var silent = ArtifactSpec.of("silent", ["nope"])
            silent.if_missing = .ignore
            $0.artifacts = [most, well, silent]
        }
        try await server.work([lease])
        let job = try #require(server.ended.first)
        #expect(job.artifacts.map(\.name) == ["most"] && job.artifacts.first?.file_name == "a")
        #expect(!server.text.contains("silent"))
    }

    @Test func `what the server has left of an artifact's name is resolved when the steps have ended`() async throws {
        let server = try FakeServer()
        var lease = FakeServer.lease(["echo v=2 >> \"$VAGUS_OUTPUT\"; echo x > x"]) {
            $0.steps[0].id = "a"
            $0.artifacts = [.of("app-${{ steps.a.outputs.v }}", ["x"])]
        }
        try await server.work([lease])
        #expect(server.ended.first?.artifacts.map(\.name) == ["app-2"])
        server.state.withLock { $0.ended = [] }
        lease.artifacts = [.of("${{ fromJSON('{') }}", ["x"])]
        lease.run = "run_2"
        try await server.work([lease])
        #expect(server.ended.first?.status == .failed && server.ended.first?.reason?.isEmpty == false)
    }

    @Test func `an artifact that must be there fails the job when nothing matches`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease(["true"]) {
            var spec = ArtifactSpec.of("app", ["out/*"])
            spec.if_missing = .error
            $0.artifacts = [spec]
        }
        try await server.work([lease])
        #expect(server.ended.first?.status == .failed)
        #expect(server.ended.first?.reason == "artifact \"app\" could not be kept: nothing matches out/*")
    }

    @Test func `an artifact of an earlier stage is fetched into the workspace`() async throws {
        let server = try FakeServer()
        let source = "\(server.folder)/source"
        _ = try await Self.bash("mkdir -p bin; echo hi > bin/app; chmod +x bin/app; echo r > readme", in: source)
        let cache = try ArtifactCache(folder: "\(server.folder)/other", door: Patient(door: server, time: SystemTime()))
        let (tree, file) = (
            try await cache.keep(source, as: "app"), try await cache.keep("\(source)/readme", as: "doc")
        )
        let lease = FakeServer.lease([
            "mkdir -p dist/bin; echo old > dist/bin/other", "", "", "ls dist/bin; [ -x dist/bin/app ]; cat docs/readme",
        ]) {
            for (index, (artifact, to)) in [(tree, "dist"), (file, "docs")].enumerated() {
                $0.steps[index + 1].verb = "fetch"
                $0.steps[index + 1].settings = ["artifact": "build.x", "to": .string(to)]
                $0.steps[index + 1].inputs = ["artifact": artifact]
            }
        }
        try await server.work([lease])
        #expect(server.ended.first?.status == .succeeded, "\(server.text)")
        #expect(server.text.hasSuffix("app\nother\nr\n"))
    }

    @Test func `a tree that lies about its size is not laid out`() async throws {
        let server = try FakeServer()
        let (file, _) = try await server.blobs.put(bytes: [UInt8](repeating: 0x61, count: 1000))
        let manifest = """
            {"entries":[{"digest":"\(file.text)","kind":"file","mode":420,"path":"x","size":1}],"format":1}
            """
        let (tree, _) = try await server.blobs.put(bytes: Array(manifest.utf8))
        let cache = try ArtifactCache(folder: "\(server.folder)/other", door: Patient(door: server, time: SystemTime()))
        await #expect(throws: Problem.self) { try await cache.fetch(tree: tree, to: "\(server.folder)/laid") }
        #expect(!FileManager.default.fileExists(atPath: "\(server.folder)/laid"))
    }

    @Test func `only what the server lacks is sent`() async throws {
        let server = try FakeServer()
        let source = "\(server.folder)/source"
        _ = try await Self.bash("for i in $(seq 50); do echo $i > f$i; done", in: source)
        let cache = try ArtifactCache(folder: "\(server.folder)/other", door: Patient(door: server, time: SystemTime()))
        let names = (1...50).map { "f\($0)" }
        _ = try await cache.keep(paths: Array(names.prefix(40)), of: source)
        #expect(server.state.withLock { $0.uploads } == 41)
        _ = try await cache.keep(paths: names, of: source)
        #expect(server.state.withLock { $0.uploads } == 52)
    }

    @Test func `test cases go up in pieces`() async throws {
        let server = try FakeServer()
        let script = """
            { echo '<testsuites>'; for i in $(seq 1200); do echo "<testcase classname='c' name='t$i' time='0.5' file='a.py'/>"; done
            echo "<testcase name='bad'><failure message='why'/></testcase></testsuites>"; } > r.xml
            printf 'SF:a.c\\nDA:1,1\\nDA:2,0\\nend_of_record\\n' > lcov.info
            """
        let lease = FakeServer.lease([script]) { ($0.reports.junit, $0.reports.coverage) = ("r.xml", "lcov.info") }
        try await server.work([lease])
        let cases = server.state.withLock { $0.cases }
        #expect(cases.count == 1201 && cases.last?.message == "why" && cases.last?.verdict == .failed)
        #expect(cases.first?.suite == "c" && cases.first?.seconds == 0.5 && cases.first?.file == "a.py")
        #expect(server.ended.first?.coverage?.percent == 50 && server.text.contains("coverage: 50.0 % of 2 lines\n"))
    }
}
