"""Encoding by Ray Data: actors, on one machine or many, hold the encoder and take whole batches of items.

The batches are those of a run without Ray, and come back in their order, so the vectors are the same bits where the
processors are alike. What is written, and when, stays with the caller.
"""

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from typing import Any
from warnings import catch_warnings

import numpy as np

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.extras import required

ADDRESS = "RAY_ADDRESS"
"""Variable with the address of a running cluster; without it, a cluster is started on this machine and ended."""
BATCHES_PER_TASK = 8  # a task costs Ray up to 60 ms, a batch of 16 texts takes 0.2 s
OBJECT_STORE_BYTES = 512 << 20  # of the cluster on this machine: some tasks' texts and vectors at a time
RESTARTS = 3  # of an actor, and of a task whose actor ended; Ray's default is without end
Result = tuple[np.ndarray | None, str]  # a vector, or None and the reason; a vector may carry a remark
Encode = Callable[[Sequence[Any]], Sequence[Result]]


def encoded_on_ray(
    batches: Sequence[Sequence[Any]], make: Callable[[], Encode], actors: int
) -> Iterator[tuple[Any, Result]]:
    """Each item with its result, in order. ``make`` is called once in each actor and gives what encodes a batch.

    Raises UserError for what an actor reports as one.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it calls a setting of its own an error
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # else Ray's cleanup, interrupted, looks for other clusters
    with required():
        import ray.data

    actors = min(actors, len(batches))
    with _cluster():
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False  # the caller shows progress
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        # Data in memory, not read by tasks: they would wait for a processor that the actors do not give back.
        tasks = max(len(batches) // BATCHES_PER_TASK, min(len(batches), 2 * actors))
        items = ray.data.from_items([{"batch": pickle.dumps(batch)} for batch in batches], override_num_blocks=tasks)
        with catch_warnings(action="ignore"):  # of restarts, which Ray 2.64 will name otherwise
            found = items.map_batches(
                _Actor,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=actors),
                num_cpus=1,
                fn_constructor_args=(make,),
                max_restarts=RESTARTS,
                max_task_retries=RESTARTS,
            )
        with closing(iter(found.iter_rows())) as rows:  # before the cluster ends
            for batch, row in zip(batches, rows, strict=True):
                results = pickle.loads(row["results"])
                if isinstance(results, UserError):
                    raise results
                yield from zip(batch, results, strict=True)


class _Actor:
    """Holds the encoder; a call encodes one batch. What it takes and gives is pickled, as Ray does with all else."""

    def __init__(self, make: Callable[[], Encode]) -> None:
        self.make = make

    @cached_property
    def encode(self) -> Encode:
        """Made at the first batch: what a constructor raises, Ray wraps."""
        return self.make()

    def __call__(self, asked: dict[str, np.ndarray]) -> dict[str, list[bytes]]:
        try:
            results: Any = self.encode(pickle.loads(asked["batch"][0]))
        except UserError as refused:  # Ray would wrap it
            results = refused
        return {"results": [pickle.dumps(results)]}


@contextmanager
def _cluster() -> Iterator[None]:
    """The cluster that is connected already, else the one of the address, else one of this machine for a while."""
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get(ADDRESS) or "local"  # without "local", Ray looks for what other programs left in /tmp
    try:
        _connect(address)
        yield
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    """Raises UserError where the cluster does not answer, or where the one of this machine does not start in time."""
    import ray

    local = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except Exception as error:  # Ray raises no narrower one
        start = f"`ray start --head`, and {ADDRESS}=HOST:PORT (RAY_AUTH_MODE=token if it has one)"
        mend = f"{start}, or leave out extract.engine"
        raise UserError(f"Ray cluster '{address}'", " ".join(str(error).split()), mend) from error
