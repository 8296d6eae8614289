"""64 clients log through MLflow's API while the server is killed with -9 and started again five times: every point that was
acknowledged is there, once, and so are the params; what is latest is the latest."""

import http.client
import json
import socket
import threading
import time
import urllib.parse

from mlflow_peer import ask
from vagus_process import Vagus

CLIENTS, KILLS = 64, 5
API = "/mlflow/api/2.0/mlflow"


class Client(threading.Thread):
    """Logs to a run of its own; a request that was not answered is sent again, as clients do."""

    def __init__(self, vagus, number):
        super().__init__(daemon=True)
        self.vagus, self.number = vagus, number
        self.run_id, self.step, self.acknowledged, self.params = None, 0, [], []
        self.over = threading.Event()
        self.line = None

    def ask(self, path, body):
        """Until it is answered, or the test is over."""
        while not self.over.is_set():
            try:
                if self.line is None:
                    place = urllib.parse.urlparse(self.vagus.url)
                    self.line = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
                self.line.request("POST", API + path, json.dumps(body), {"Content-Type": "application/json"})
                answer = self.line.getresponse()
                data = answer.read()
                if answer.status == 200:
                    return json.loads(data)
                assert answer.status in (429, 503), (answer.status, data)
            except (OSError, http.client.HTTPException, socket.timeout):
                pass
            self.line = None
            time.sleep(0.05)
        return None

    def run(self):
        made = self.ask("/runs/create", {"experiment_id": "0", "start_time": self.number})
        self.run_id = made and made["run"]["info"]["run_id"]
        while self.run_id and not self.over.is_set():
            self.step += 1
            metric = {"key": "m", "value": self.step / 7, "timestamp": self.step, "step": self.step}
            if self.step % 5 == 0:
                body = {"run_id": self.run_id, "metrics": [metric], "params": [{"key": f"p{self.step}", "value": "x"}]}
                if self.ask("/runs/log-batch", body) is not None:
                    self.acknowledged.append(self.step)
                    self.params.append(f"p{self.step}")
            elif self.ask("/runs/log-metric", {"run_id": self.run_id, **metric}) is not None:
                self.acknowledged.append(self.step)


def main():
    with Vagus() as vagus:
        clients = [Client(vagus, number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        for kill in range(KILLS):
            time.sleep(1.5)
            vagus.kill()
            vagus.start()
        time.sleep(1)
        for client in clients:
            client.over.set()
        for client in clients:
            client.join(40)
        total = 0
        for client in clients:
            if not client.run_id:
                continue
            answer = ask(vagus.url, "GET", f"{API}/metrics/get-history", query={"run_id": client.run_id, "metric_key": "m"})
            steps = [point["step"] for point in answer.json.get("metrics", [])]
            assert len(steps) == len(set(steps)), f"run {client.number}: a point is there twice"
            lost = set(client.acknowledged) - set(steps)
            assert not lost, f"run {client.number}: lost {sorted(lost)[:5]}"
            # One more may be there: the last, which was written and whose answer nobody waited for.
            assert set(steps) - set(client.acknowledged) <= {client.step}, f"run {client.number}: {client.step}"
            data = ask(vagus.url, "GET", f"{API}/runs/get", query={"run_id": client.run_id}).json["run"]["data"]
            params = {param["key"] for param in data.get("params", [])}
            assert set(client.params) <= params, f"run {client.number}: params"
            if client.acknowledged:
                assert data["metrics"][0]["step"] >= max(client.acknowledged), f"run {client.number}: latest"
            total += len(client.acknowledged)
        assert total > CLIENTS * KILLS, f"only {total} points were acknowledged"
        print(f"mlflow_crash: passed ({total} acknowledged points of {CLIENTS} clients over {KILLS} kills, each there once)")


if __name__ == "__main__":
    main()
