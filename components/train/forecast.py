"""The time that a training will take, measured on its first batches and said once."""

import time

from mmkgc.components.runtime.progress import duration

MEASURED = "train: about "
"""How the sentence begins, by which a runner knows it."""
BATCHES, SECONDS = 10, 5.0  # the first batch compiles kernels and is left out


class Forecast:
    """Says once, after some batches, how long an epoch and all epochs take; nothing if the training is short."""

    def __init__(self, batches: int, epochs: int) -> None:
        """``batches`` of an epoch, ``epochs`` that are left."""
        self.batches, self.epochs, self.done = batches, epochs, 0
        self.begun = time.monotonic()
        self.said = False

    def note(self) -> None:
        """A batch is done."""
        self.done += 1
        if self.done == 1:
            self.begun = time.monotonic()
        passed = time.monotonic() - self.begun
        if self.said or self.done <= BATCHES or passed < SECONDS:
            return
        self.said = True
        epoch = self.batches * passed / (self.done - 1)
        whole = f", at most {duration(epoch * self.epochs)} for {self.epochs} epochs" if self.epochs > 1 else ""
        print(f"{MEASURED}{duration(epoch)} an epoch{whole}, measured on the first {self.done} batches", flush=True)
