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
      azure:
        id_token: { audience: "api://AzureADTokenExchange", algorithm: RS256 }
        steps: [{ run: cat "$VAGUS_ID_TOKEN_FILE" > "$OUT/azure" }]
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
        assert found["issuer"] == vagus.url and found["id_token_signing_alg_values_supported"] == ["ES256", "RS256"], found
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
        for token, algorithm in ((read("azure"), "RS256"), (read("first"), "ES256")):
            assert jwt.get_unverified_header(token)["alg"] == algorithm
        claims = jwt.decode(
            read("azure"), keys.get_signing_key_from_jwt(read("azure")).key, algorithms=["RS256"],
            audience="api://AzureADTokenExchange", issuer=found["issuer"])
        assert claims["job"] == "deploy/azure", claims
        assert read("mode") == "600" and read("env") == "0"
        log = vagus.run("logs", "shop:latest", "deploy/app").stdout
        assert "***" in log and tokens[0] not in log, log

        for wrong in ({"audience": "other"}, {"audience": "sts.example.com", "issuer": "https://evil.example.com"}):
            try:
                jwt.decode(token, keys.get_signing_key_from_jwt(token).key, algorithms=["ES256"], **wrong)
                raise AssertionError(f"accepted for {wrong}")
            except jwt.InvalidTokenError:
                pass

        # A new key is told beside the old ones, which still verify what they have signed.
        request = urllib.request.Request(vagus.url + "/api/v1/oidc/rotate", data=b"{}", method="POST",
                                         headers={"Content-Type": "application/json"})
        rotated = json.load(urllib.request.urlopen(request, timeout=10))["keys"]
        assert sorted(key["alg"] for key in rotated) == ["ES256", "ES256", "RS256", "RS256"], rotated
        fresh = jwt.PyJWKClient(found["jwks_uri"])
        for token, algorithm, audience in (
                (read("azure"), "RS256", "api://AzureADTokenExchange"), (tokens[0], "ES256", "sts.example.com")):
            jwt.decode(token, fresh.get_signing_key_from_jwt(token).key, algorithms=[algorithm], audience=audience)

        old = {key["kid"] for key in fetch(found["jwks_uri"])["keys"]}
        vagus.stop()
        vagus.start()
        assert {key["kid"] for key in fetch(vagus.url + "/.well-known/jwks.json")["keys"]} == old, "keys outlive a restart"
    print("test_oidc: passed")


if __name__ == "__main__":
    main()
