"""A graph of `true` as a Prefect flow, on its own temporary server: peer_prefect.py SHAPE COUNT WORKERS FOLDER."""
import pathlib
import subprocess
import sys

from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import graphs  # noqa: E402

SHAPE, COUNT, WORKERS, FOLDER = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4])


@task
def job(number):
    subprocess.run(["/bin/true"], check=True)
    (FOLDER / f"{number}").touch()


@flow(task_runner=ThreadPoolTaskRunner(max_workers=WORKERS))
def everything():
    submitted = {}
    for number, needs in graphs.graph(SHAPE, COUNT).items():
        submitted[number] = job.submit(number, wait_for=[submitted[need] for need in needs])
    for one in submitted.values():
        one.result()


if __name__ == "__main__":
    everything()
    sys.exit(0 if len(list(FOLDER.iterdir())) == COUNT else 1)
