"""Two sides of a comparison: each measured in a process of its own, in turns; one table with the ratios."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mmkgc.components import SPINS
from mmkgc.components.kge.graph import Graph, Vocabulary, no_triples

ENTITIES, RELATIONS, TRIPLES = 12_842, 279, 79_222
OURS, PEER = "mmkgc", "PyKEEN"
MODELS = ("rotate", "transe")
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "1000000000"}
ALLOCATORS = {"default": {}, "tuned malloc": TUNED}


class Clock:
    """Rates of work since the clock was made: by the wall, and by the processor time of all threads.

    On a machine that other programs use too, only the second says what the work costs.
    """

    def __init__(self) -> None:
        self.wall, self.processor = time.monotonic(), time.process_time()

    def rates(self, count: int) -> dict[str, float]:
        """Units a second."""
        return {
            "rate": count / (time.monotonic() - self.wall),
            "processor": count / (time.process_time() - self.processor),
        }


Measure = Callable[[str], dict[str, float]]


class Size(NamedTuple):
    """Of a random graph; by default DB15K's."""

    entities: int = ENTITIES
    relations: int = RELATIONS
    triples: int = TRIPLES


DB15K = Size()


def random_triples(size: Size = DB15K, seed: int = 0) -> Tensor:
    """Uniform random triples, int64 ``[T, 3]``."""
    generator, highest = torch.Generator().manual_seed(seed), (size.entities, size.relations, size.entities)
    return torch.stack([torch.randint(high, (size.triples,), generator=generator) for high in highest], dim=1)


def random_graph(size: Size = DB15K) -> Graph:
    """The random triples as a graph whose splits but train are empty."""
    entities, relations = (Vocabulary(names, names) for names in (_names(size.entities), _names(size.relations)))
    return Graph(entities, relations, random_triples(size), no_triples(), no_triples())


def main(title: str, unit: str, measures: dict[str, Measure], models: Sequence[str] = MODELS) -> None:
    """Print the table of ``measures``, functions from the name of one of the ``models`` to its rates, by side.

    ``python <script> [rounds]`` measures; each process is asked by ``--of <side> <model>``.
    """
    if sys.argv[1:2] == ["--of"]:
        _, _, side, model = sys.argv
        rates = measures[side](model)
        print(json.dumps(rates | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    rounds = int(sys.argv[1]) if sys.argv[1:] else 3
    print(f"{title}; {unit}, median of {rounds} rounds in turns; {torch.get_num_threads()} threads\n")
    peaks = f"{OURS} peak MB | {PEER} peak MB"
    print(f"| model | malloc | {OURS} | {PEER} | ratio (lowest, highest) | by processor time | {peaks} |")
    print("|---|---|---|---|---|---|---|---|")
    for malloc, model in product(ALLOCATORS, models):
        found = [{side: _measured(side, model, malloc) for side in measures} for _ in range(rounds)]
        print(_row(model, malloc, found), flush=True)


def _measured(side: str, model: str, malloc: str) -> dict[str, float]:
    command = [sys.executable, sys.argv[0], "--of", side, model]
    root = str(Path(__file__).parents[2])
    environment = os.environ | ALLOCATORS[malloc] | {"PYTHONPATH": root}
    if side != OURS:
        environment.pop(SPINS)  # what ``components`` sets for its own processes
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _row(model: str, malloc: str, found: list[dict[str, dict[str, float]]]) -> str:
    ratios = {
        what: sorted(round_[OURS][what] / round_[PEER][what] for round_ in found) for what in ("rate", "processor")
    }

    def median(side: str, what: str) -> str:
        return f"{statistics.median(round_[side][what] for round_ in found):,.0f}"

    def span(values: list[float]) -> str:
        return f"{statistics.median(values):.1f} × ({values[0]:.1f}, {values[-1]:.1f})"

    cells = [model, malloc, median(OURS, "rate"), median(PEER, "rate"), *map(span, ratios.values())]
    return f"| {' | '.join([*cells, median(OURS, 'peak'), median(PEER, 'peak')])} |"


def _names(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))
