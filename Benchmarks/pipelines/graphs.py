"""The graphs that are run: as a Vagus pipeline, a Makefile, and for the peers in Python."""
import pathlib

SHAPES = ("chains", "wide")


def chains(count, width=10):
    """`width` chains side by side: job i waits for job i - width."""
    return {number: [number - width] if number >= width else [] for number in range(count)}


def wide(count):
    """Nobody waits for anybody."""
    return {number: [] for number in range(count)}


def graph(shape, count):
    return chains(count) if shape == "chains" else wide(count)


def pipeline(name, shape, count, script="true"):
    """Chains are stages of one job each, the wide graph is one stage of many jobs."""
    lines = ["kind: Pipeline", f"name: {name}", "stages:"]
    step = f"{{ steps: [{{ run: '{script}' }}] }}"
    if shape == "wide":
        lines += ["  - name: all", "    jobs:"] + [f"      j{number}: {step}" for number in range(count)]
    else:
        lines += [f"  - {{ name: s{number}, needs: [{', '.join(f's{need}' for need in needs)}], jobs: {{ j: {step} }} }}"
                  for number, needs in chains(count).items()]
    return "\n".join(lines) + "\n"


def makefile(shape, count, shell):
    """`true` itself, or, as each step of Vagus has it, a bash that runs it."""
    needs = graph(shape, count)
    # Any other shell than its own makes `make` start one for each line.
    head = ["SHELL := /bin/bash", ".SHELLFLAGS := -euo pipefail -c"] if shell else []
    lines = head + [".PHONY: all " + " ".join(f"t{number}" for number in needs), "all: " + " ".join(f"t{n}" for n in needs)]
    for number, before in needs.items():
        lines += [f"t{number}: " + " ".join(f"t{need}" for need in before), "\t@true"]
    return "\n".join(lines) + "\n"


def peer(name):
    return pathlib.Path(__file__).with_name(f"peer_{name}.py")
