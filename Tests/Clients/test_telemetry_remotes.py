"""Two servers: what one takes in goes on to the other by remote write and Loki's push; one scrapes the other; one asks the other.

    Tests/Clients/test_telemetry_remotes.py
"""

import json
import os
import time
import urllib.parse
import urllib.request

from vagus_process import Vagus, wait_for


def get(url, **form):
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(form)}", timeout=20) as answer:
        return json.load(answer)


def push(vagus, text):
    urllib.request.urlopen(f"{vagus.url}/api/v1/metrics/push/job/test", text.encode(), timeout=20).read()


def value(vagus, query):
    found = get(vagus.url + "/prometheus/api/v1/query", query=query)["data"]["result"]
    return float(found[0]["value"][1]) if found else None


def apply(vagus, text):
    path = os.path.join(vagus.folder, "telemetry.yaml")
    with open(path, "w") as file:
        file.write(text)
    vagus.run("apply", "-f", path)


def main():
    with Vagus() as near, Vagus() as far:
        host = far.url.removeprefix("http://")
        apply(near, f"""
kind: Telemetry
name: main
logging: {{ destinations: [{{ store: true }}, {{ loki: "{far.url}" }}] }}
metrics:
  interval: 1s
  remote_write:
    - name: far
      to: {{ url: "{far.url}/prometheus/api/v1/write" }}
      relabel: [{{ target_label: from, replacement: near }}]
  scrape: [{{ job: far, targets: ["{host}"] }}]
""")
        wait_for(lambda: near.json("metrics", "status")["remotes"], 20, "the plan to be taken")

        # Remote write, relabelled; the far one is away for a while, and nothing is lost.
        push(near, "jobs_total 5\n")
        assert wait_for(lambda: value(far, 'jobs_total{from="near"}'), 20, "the first sample") == 5
        far.stop()
        push(near, "jobs_total 6\n")
        arguments = far.arguments
        far.arguments = [*arguments, "--listen", host]
        far.start()
        wait_for(lambda: value(far, 'jobs_total{from="near"}') == 6, 60, "the sample of meanwhile")

        # A scrape of the far one's own metrics.
        wait_for(lambda: value(near, 'up{job="far"}') == 1, 20, "the scrape")
        assert value(near, 'vagus_build_info{job="far"}') == 1

        # Lines.
        line = json.dumps({"streams": [{"stream": {"app": "shop"}, "values": [[str(time.time_ns()), "error: refused"]]}]})
        urllib.request.urlopen(urllib.request.Request(
            near.url + "/loki/api/v1/push", line.encode(), {"Content-Type": "application/json"}), timeout=20).read()
        wait_for(lambda: get(far.url + "/loki/api/v1/query_range", query='{app="shop"} |= "refused"')["data"]["result"],
                 20, "the line")

        # A target that goes away is down.
        far.stop()
        wait_for(lambda: value(near, 'up{job="far"}') == 0, 20, "the target to be down")
    print("test_telemetry_remotes: passed")


if __name__ == "__main__":
    main()
