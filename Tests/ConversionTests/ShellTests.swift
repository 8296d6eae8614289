import Conversion
import Manifests
import Testing

@Suite struct ShellTests {
    static let reason =
        "scripts are read with -euo pipefail here: where that may differ they begin with `set +…`, to be read as before"

    @Test(
        arguments: [
            ("npm ci && npm test || true", nil, ""), ("if [ -z \"$FOO\" ]; then a | b; fi", nil, "set +u +o pipefail"),
            ("if [ -z \"$FOO\" ]; then a | b; fi", "bash", "set +u"), ("a | b", nil, "set +o pipefail"),
            ("a | b", "bash", ""), ("echo \"$SET$OWN$HOME$GITHUB_SHA$GITHUB_ACTOR\"", nil, ""),
            ("echo ${{ matrix.os || 'x' }}", nil, ""), ("f() { echo \"$1\"; }", nil, "set +u"), ("a $? $$ $0", nil, ""),
            ("# strict\nset -euo pipefail\na \"$X\" | b", nil, ""), ("set -e\na $X", nil, "set +u"),
            (". venv/bin/activate", nil, "set +u +o pipefail"), ("ruff check .", nil, ""), ("a $X | b", "sh", "set +u"),
            ("conda info", "bash -l {0}", "set +e"), ("conda info", "bash -el {0}", ""),
            ("a $X | b", "bash --noprofile --norc -eo pipefail {0}", "set +u"), ("a $X | b", "python", ""),
        ] as [(String, String?, String)])
    func `a script begins with what its shell there does not mind`(
        script: String, shell: String?, line: String
    ) throws {
        var step: Ordered<JSONValue> = ["run": .string(script), "env": ["OWN": "1"]]
        if let shell { step["shell"] = .string(shell) }
        let yaml: JSONValue = [
            "on": "push", "env": ["SET": "1"], "jobs": ["a": ["runs-on": "x", "steps": [.object(step)]]],
        ]
        let it = try Sample.converted(text: yaml.yaml)
        let run = it.steps("a")[0]["run"]?.string
        let same = script.replacing("GITHUB_SHA", with: "VAGUS_COMMIT")
        #expect(run == (line.isEmpty ? same : "\(line)\n\(same)"))
        #expect(it.reasons("jobs.a.steps.0.run") == (line.isEmpty ? [] : [Self.reason]))
    }

    @Test func `it is told once, and a container has sh`() throws {
        let it = try Sample.converted(
            text: """
                on: push
                jobs:
                  a:
                    runs-on: x
                    container: alpine
                    steps: [{ run: a $X | b }, { run: a $Y, shell: bash }]
                  b: { runs-on: x, steps: [{ run: a $Z }] }
                """)
        #expect(it.steps("a")[0] == ["shell": "sh", "run": "set +u\na $X | b"])
        #expect(it.steps("a")[1] == ["run": "set +u\na $Y"] && it.steps("b")[0] == ["run": "set +u\na $Z"])
        #expect(it.notes.filter { $0.reason == Self.reason }.map(\.path) == [["jobs", "a", "steps", "0", "run"]])
    }

    @Test func `GitLab minds pipes, and no variable that is not set`() throws {
        let it = try Sample.converted(
            text: "variables: { A: x }\na: { script: ['echo $A | b'], after_script: ['echo $B'] }\n")
        #expect(it.steps("a")[1]["run"] == "echo $A | b\n" && it.steps("a")[2]["run"] == "set +u\necho $B\n")
        #expect(it.reasons("a.after_script") == [Self.reason])
    }
}
