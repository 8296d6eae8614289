"""Prometheus's PromQL scripts against `vagus dev`: loaded by remote write, asked as instant and range queries, annotations too.

    Tests/Clients/test_promql.py [--show N] [FILE...]

Prints the counts of each file. Passes when no eval fails. Each `clear` begins a server with a data folder of its own, so
that samples may begin at 1970 again.
"""

import argparse
import os
import sys

import promql_scripts
from vagus_process import Vagus


class FreshVagus:
    """A `vagus dev` for one part of a script."""

    def __enter__(self):
        self.vagus = Vagus()
        self.vagus.__enter__()
        return self.vagus.url + "/prometheus"

    def __exit__(self, *_):
        self.vagus.__exit__(None, None, None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--show", type=int, default=3, help="complaints to print for each file")
    options = parser.parse_args()
    if not options.files and not os.path.isdir(promql_scripts.SCRIPTS):
        print("test_promql: skipped: no scripts (set PROMQL_SCRIPTS to a folder of them)")
        return 0
    failed = promql_scripts.run_files(options.files, FreshVagus, show=options.show)
    if failed == 0:
        print("test_promql: passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
