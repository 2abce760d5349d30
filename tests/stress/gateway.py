"""Attacks on a gateway that this script starts itself on loopback: what was tried, and whether it held.

    python tests/stress/gateway.py [--short] [ATTACK …]

While each attack runs, another client asks a plain query twenty times a second with a key of its own. An attack is held
if every answer that this client gets is right and comes within five seconds (more on a machine that other work slows
down), if the gateway answers the attacker with nothing of the 500s but "busy" (503), and if it takes less than 700 MB
more. Every attack is bounded in number and time; all of them took about ten minutes on a busy machine with two cores,
the short form, without encoders, two.
"""

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from attacks import ATTACKS, PLAIN, WITH_ENCODERS
from victim import NEIGHBOUR, Victim, started

PATIENCE, MEMORY = 5.0, 700.0  # seconds on an idle machine, MB


class Neighbour:
    """Asks a plain query twenty times a second, and keeps how long the slowest answer took and what went wrong."""

    def __init__(self, url: str) -> None:
        self.url, self.slowest, self.asked = url, 0.0, 0
        self.wrong: Counter[str] = Counter()
        self.ending = threading.Event()

    def __enter__(self) -> "Neighbour":
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.thread.join()

    def _run(self) -> None:
        with httpx.Client(headers={"authorization": f"Bearer {NEIGHBOUR}"}, timeout=60) as client:
            while not self.ending.wait(0.05):
                begun = time.monotonic()
                try:
                    answer = client.post(f"{self.url}/v1/complete", json={"queries": [PLAIN]})
                    right = answer.status_code == 200 and len(answer.json()["answers"][0]["predictions"]) == 10
                    self.wrong.update([] if right else [str(answer.status_code)])
                except httpx.TransportError as error:
                    self.wrong[type(error).__name__] += 1
                self.asked += 1
                self.slowest = max(self.slowest, time.monotonic() - begun)


def tried(victim: Victim, attack: Callable[[Victim, bool], int], short: bool) -> bool:
    """Carry one attack out and print its row; whether it was held."""
    victim.statuses.clear()
    before, log = victim.megabytes, victim.log.stat().st_size
    peak, failure, count = before, "", 0
    with Neighbour(victim.url) as neighbour, ThreadPoolExecutor(1) as pool:
        running = pool.submit(attack, victim, short)
        while not running.done():
            peak = max(peak, victim.megabytes)
            time.sleep(0.05)
        try:
            count = running.result()
        except AssertionError as error:
            failure = str(error)[:80] or "an answer was wrong"
        time.sleep(0.2)
    patience = PATIENCE * slowness()
    bad = [status for status in victim.statuses if status >= 500 and status != 503]
    held = not (failure or bad or neighbour.wrong or neighbour.slowest > patience or peak - before > MEMORY)
    answers = ", ".join(f"{number} × {status or 'ended'}" for status, number in sorted(victim.statuses.items())) or "—"
    wrong = ", ".join(f"{number} × {what}" for what, number in neighbour.wrong.items()) or "none"
    written = (victim.log.stat().st_size - log) / 1e6
    waited = f"{neighbour.slowest:.1f} of {patience:.0f} s, {neighbour.asked} asked, {wrong} wrong"
    grown = f"{peak - before:.0f} MB, log {written:.1f} MB"
    verdict = "held" if held else f"NOT HELD {failure}"
    print(f"| {attack.__doc__} | {count} | {answers} | {waited} | {grown} | {verdict} |", flush=True)
    return held


def slowness() -> float:
    """How many times slower this machine is just now than an idle one, because of other work."""
    wall, own = time.perf_counter(), time.process_time()
    while time.process_time() - own < 0.3:
        pass
    return max(1.0, (time.perf_counter() - wall) / 0.3)


def main() -> int:
    """Carry out every attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="without encoders, and fewer times")
    parser.add_argument("attacks", nargs="*", help=f"by default all: {', '.join(one.__name__ for one in ATTACKS)}")
    options = parser.parse_args()
    attacks = [one for one in ATTACKS if one.__name__ in (options.attacks or [one.__name__])]
    if options.short:
        attacks = [one for one in attacks if one not in WITH_ENCODERS]
    print("| attack | tried | answers | another client's slowest answer | memory | |\n|---|---|---|---|---|---|")
    with started(encoders=any(one in WITH_ENCODERS for one in attacks)) as victim:
        held = [tried(victim, attack, options.short) for attack in attacks]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
