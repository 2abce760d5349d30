"""The guard of a command: when the command has ended, it kills what the command started and removes its litter."""

import signal
import sys

from mmkgc.components.runtime import processes


def main() -> None:
    """Wait for the end of standard input, which the command alone holds open."""
    for number in processes.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    processes.end(sys.argv[1], grace=0)
    processes.sweep()


if __name__ == "__main__":
    main()
