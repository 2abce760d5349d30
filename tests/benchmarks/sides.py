"""Two sides of a comparison: each measured in a process of its own, in turns; one table with the ratios."""

import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from components.kge.graph import Graph, Vocabulary, no_triples

ENTITIES, RELATIONS, TRIPLES = 12_842, 279, 79_222
OURS, PEER = "mmkgc", "PyKEEN"
MODELS = ("rotate", "transe")
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "1000000000"}
ALLOCATORS = {"default": {}, "tuned malloc": TUNED}
Measure = Callable[[str], float]


def random_triples(seed: int = 0) -> Tensor:
    """Uniform random triples of DB15K's size, int64 ``[T, 3]``."""
    generator = torch.Generator().manual_seed(seed)
    columns = (torch.randint(high, (TRIPLES,), generator=generator) for high in (ENTITIES, RELATIONS, ENTITIES))
    return torch.stack(list(columns), dim=1)


def random_graph() -> Graph:
    """The random triples as a graph whose splits but train are empty."""
    entities, relations = (Vocabulary(names, names) for names in (_names(ENTITIES), _names(RELATIONS)))
    return Graph(entities, relations, random_triples(), no_triples(), no_triples())


def main(title: str, unit: str, measures: dict[str, Measure]) -> None:
    """Print the table of ``measures``, functions from a model's name to a rate, by side.

    ``python <script> [rounds]`` measures; each process is asked by ``--of <side> <model>``.
    """
    if sys.argv[1:2] == ["--of"]:
        _, _, side, model = sys.argv
        rate = measures[side](model)
        print(json.dumps({"rate": rate, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    rounds = int(sys.argv[1]) if sys.argv[1:] else 3
    print(f"{title}; {unit}, median of {rounds} rounds in turns; {torch.get_num_threads()} threads\n")
    print(f"| model | malloc | {OURS} | {PEER} | ratio (lowest, highest) | {OURS} peak MB | {PEER} peak MB |")
    print("|---|---|---|---|---|---|---|")
    for model, malloc in product(MODELS, ALLOCATORS):
        found = [{side: _measured(side, model, malloc) for side in measures} for _ in range(rounds)]
        print(_row(model, malloc, found), flush=True)


def _measured(side: str, model: str, malloc: str) -> dict[str, float]:
    command = [sys.executable, sys.argv[0], "--of", side, model]
    root = str(Path(__file__).parents[2])
    environment = os.environ | ALLOCATORS[malloc] | {"PYTHONPATH": root}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _row(model: str, malloc: str, found: list[dict[str, dict[str, float]]]) -> str:
    ratios = sorted(round_[OURS]["rate"] / round_[PEER]["rate"] for round_ in found)

    def median(side: str, what: str) -> float:
        return statistics.median(round_[side][what] for round_ in found)

    ratio = f"{statistics.median(ratios):.1f} × ({ratios[0]:.1f}, {ratios[-1]:.1f})"
    rates = f"{median(OURS, 'rate'):,.0f} | {median(PEER, 'rate'):,.0f}"
    return f"| {model} | {malloc} | {rates} | {ratio} | {median(OURS, 'peak'):,.0f} | {median(PEER, 'peak'):,.0f} |"


def _names(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))
