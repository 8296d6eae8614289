import API
import Foundation
import Manifests
import Testing

@testable import Runner

@Suite struct StepContextTests {
    @Test func `conditions and texts that were left to the runner see env, job, runner and the server's values`()
        async throws
    {
        let server = try FakeServer()
        let lease = FakeServer.lease([
            "echo colour ${{ env.COLOUR }} and ${{ needs.build.outputs.tag || env.COLOUR }}",
            "echo status ${{ job.status }} on ${{ runner.os }}",
            "echo not for this cell",
            "test -d '${{ runner.temp }}' && echo $SHADE",
        ]) {
            for index in $0.steps.indices {
                $0.steps[index].environment = ["SHADE": "dark ${{ env.COLOUR }}", "COLOUR": "blue"]
            }
            $0.steps[0].context = ["needs": ["build": ["outputs": ["tag": "v7"]]]]
            $0.steps[1].if = "env.colour == 'BLUE' && matrix.os == 'debian12'"
            $0.steps[1].context = ["matrix": ["os": "debian12"]]
            $0.steps[2].if = "matrix.os == 'other'"
            $0.steps[2].context = ["matrix": ["os": "debian12"]]
        }
        try await server.work([lease])
        #expect(server.steps.map(\.status) == [.succeeded, .succeeded, .skipped, .succeeded])
        #expect(server.text.contains("colour blue and v7\n"))
        #expect(server.text.contains("status success on Linux\n"))
        #expect(server.text.contains("\ndark blue\n"))
        #expect(server.steps[2].reason == "if: matrix.os == 'other' was false")
    }

    @Test func `hashFiles takes the files of the workspace in the order of their paths`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease([
            "mkdir d; echo one > a.lock; echo two > d/b.lock; echo three > other",
            "echo 'hash=${{ hashFiles('**/*.lock') }}' 'none=${{ hashFiles('nothing') }}='",
            "echo 'less=${{ hashFiles('**/*.lock', '!d/**') == hashFiles('a.lock') }}'",
        ])
        try await server.work([lease])
        // sha256(sha256("one\n") + sha256("two\n")), by Python's hashlib.
        #expect(server.text.contains("hash=b3e00007a221fb65fa01a1d9b968f4b3f290fe1f8a53061187adb40118314e5f none==\n"))
        #expect(server.text.contains("less=true\n"))
    }

    @Test func `a failure that is forgiven concludes as success`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease([
            "exit 3", "echo ${{ steps.a.outcome }} but ${{ steps.a.conclusion }}, ${{ job.status }}",
        ]) {
            $0.steps[0].id = "a"
            $0.steps[0].continue_on_error = true
        }
        try await server.work([lease])
        #expect(server.text.contains("failed but succeeded, success\n"))
    }
}
