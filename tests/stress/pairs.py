"""Two first commands at once, in a home that does not exist yet.

    python tests/stress/pairs.py [--short] [ROUNDS]

Both have to succeed; of two runs, one may be told that the other one trains this very model. Takes about half a minute
a pair; the short form tries two searches.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from bench import Bench, ended, untold

from mmkgc.components.runtime import processes

SEARCHES = ("search", "search")
PAIRS = (("run", "run"), ("run", "search"), SEARCHES, ("list", "run"))
BUSY = "does this already"


def start(bench: Bench, verb: str, home: Path) -> subprocess.Popen[str]:
    """A first command in a home."""
    match verb:
        case "run":
            return bench.run(home=home)
        case "search":
            return bench.search(home=home)
    return bench.start("features", "list", home=home)


def together(bench: Bench, verbs: tuple[str, str], home: Path) -> None:
    """Start both commands, and note what is not as it should be."""
    both = [start(bench, verb, home) for verb in verbs]
    problems = []
    for process in both:
        err = ended(process)
        failed = process.returncode != 0 and BUSY not in err
        problems += untold(process, err) or ([err[-300:]] if failed else [])
    bench.note(" and ".join(verbs), problems + bench.left() + bench.open_runs(home))


def main(rounds: int = 2, short: bool = False) -> int:
    """Try every pair, and print how often it held."""
    with processes.supervised(), tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), short)
        for number in range(rounds):
            for verbs in [SEARCHES] if short else PAIRS:
                together(bench, verbs, Path(folder) / f"{'-'.join(verbs)}-{number}")
        return bench.report()


if __name__ == "__main__":
    sys.exit(main(1, short=True) if "--short" in sys.argv else main(*map(int, sys.argv[1:])))
