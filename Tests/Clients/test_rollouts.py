"""The tour of examples/rollouts: all five strategies on real processes under load, and bad versions that are caught."""

import os
import sys

from vagus_process import BINARY, ROOT, Vagus

sys.path.insert(0, os.path.join(ROOT, "examples", "rollouts"))
from tour import Tour  # noqa: E402


def main(parts):
    with Vagus() as vagus:
        tour = Tour([BINARY], vagus.proxy, server=vagus.url)
        for part in parts or ["all"]:
            getattr(tour, part)()
    print("rollouts: passed")


if __name__ == "__main__":
    main(sys.argv[1:])
