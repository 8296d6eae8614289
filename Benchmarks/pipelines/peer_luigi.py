"""A graph of `true` in Luigi's local scheduler: peer_luigi.py SHAPE COUNT WORKERS FOLDER."""
import logging
import pathlib
import subprocess
import sys

import luigi

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import graphs  # noqa: E402

SHAPE, COUNT, WORKERS, FOLDER = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4])
NEEDS = graphs.graph(SHAPE, COUNT)


class Job(luigi.Task):
    number = luigi.IntParameter()

    def requires(self):
        return [Job(number=need) for need in NEEDS[self.number]]

    def output(self):
        return luigi.LocalTarget(str(FOLDER / f"{self.number}"))

    def run(self):
        subprocess.run(["/bin/true"], check=True)
        pathlib.Path(self.output().path).touch()


class All(luigi.WrapperTask):
    def requires(self):
        return [Job(number=number) for number in NEEDS]


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    done = luigi.build([All()], local_scheduler=True, workers=WORKERS, no_lock=True, log_level="ERROR")
    sys.exit(0 if done and len(list(FOLDER.iterdir())) == COUNT else 1)
