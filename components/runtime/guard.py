"""The guard of a command: after its end, kill its child processes and remove its temporary folders."""

import signal
import sys

from mmkgc.components.runtime import processes


def main() -> None:
    """Wait for the end of standard input, which only the command keeps open."""
    for number in processes.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    processes.end(sys.argv[1], grace=0)
    processes.sweep()


if __name__ == "__main__":
    main()
