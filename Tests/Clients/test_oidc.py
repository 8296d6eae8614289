"""A job's identity token is checked with PyJWT, as a cloud would: keys found by discovery, signature, audience, issuer, time."""

import json
import os
import urllib.request

import jwt

from vagus_process import Vagus, git, wait_for

PIPELINE = """
kind: Pipeline
name: shop
variables: { OUT: "%(out)s" }
stages:
  - name: deploy
    environment: production
    jobs:
      app:
        id_token: sts.example.com
        steps:
          - run: cat "$VAGUS_ID_TOKEN_FILE"; cat "$VAGUS_ID_TOKEN_FILE" > "$OUT/first"; stat -c %%a "$VAGUS_ID_TOKEN_FILE" > "$OUT/mode"
          - run: cat "$VAGUS_ID_TOKEN_FILE" > "$OUT/second"; env | grep -c "$(cat "$VAGUS_ID_TOKEN_FILE")" > "$OUT/env" || true
  - name: plain
    jobs: { j: { steps: [{ run: "test -z \\"${VAGUS_ID_TOKEN_FILE:-}\\"" }] } }
"""


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/json", answer.headers
        return json.load(answer)


def main():
    with Vagus() as vagus:
        read = lambda name: open(os.path.join(vagus.folder, name)).read().strip()
        vagus.run("apply", "-f", "-", input="{ kind: Repository, name: shop }\n---\n{ kind: Environment, name: production, branches: [main] }\n")
        url = wait_for(
            lambda: (vagus.json("get", "repository", "shop").get("status") or {}).get("push_url"), 10, "the repository")
        work = os.path.join(vagus.folder, "work")
        os.makedirs(os.path.join(work, ".vagus"))
        open(os.path.join(work, ".vagus", "pipeline.yaml"), "w").write(PIPELINE % {"out": vagus.folder})
        git(work, "init", "-q", "-b", "main")
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", "first")
        git(work, "push", "-q", url, "main")
        wait_for(lambda: any(p["name"] == "shop" for p in vagus.json("get", "pipelines")["items"]), 20, "the pipeline")
        vagus.run("run", "shop", "--follow")

        found = fetch(vagus.url + "/.well-known/openid-configuration")
        assert found["issuer"] == vagus.url and found["id_token_signing_alg_values_supported"] == ["ES256"], found
        keys = jwt.PyJWKClient(found["jwks_uri"])
        tokens = [read("first"), read("second")]
        assert tokens[0] != tokens[1], "each step has a fresh one"
        run = vagus.json("runs", "shop:latest")
        for token in tokens:
            claims = jwt.decode(
                token, keys.get_signing_key_from_jwt(token).key, algorithms=["ES256"], audience="sts.example.com",
                issuer=found["issuer"], options={"require": ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"]})
            assert claims["sub"] == "project:default:pipeline:shop:environment:production:ref:refs/heads/main", claims
            assert claims["exp"] - claims["iat"] == 600
            assert (claims["run"], claims["job"], claims["commit"]) == (run["id"], "deploy/app", run["commit"])
        assert read("mode") == "600" and read("env") == "0"
        log = vagus.run("logs", "shop:latest", "deploy").stdout
        assert "***" in log and tokens[0] not in log, log

        for wrong in ({"audience": "other"}, {"audience": "sts.example.com", "issuer": "https://evil.example.com"}):
            try:
                jwt.decode(token, keys.get_signing_key_from_jwt(token).key, algorithms=["ES256"], **wrong)
                raise AssertionError(f"accepted for {wrong}")
            except jwt.InvalidTokenError:
                pass

        old = {key["kid"] for key in fetch(found["jwks_uri"])["keys"]}
        vagus.stop()
        vagus.start()
        assert {key["kid"] for key in fetch(vagus.url + "/.well-known/jwks.json")["keys"]} == old, "keys outlive a restart"
    print("test_oidc: passed")


if __name__ == "__main__":
    main()
