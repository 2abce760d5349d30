"""Encoding by Ray Data: actors, on one machine or many, hold the encoder and take whole batches of items.

The batches are those of a run without Ray, and come back in their order, so the vectors are the same bits where
processors and numbers of threads are. What is written, and when, stays with the caller.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from mmkgc.components.extract.config import ExtractConfig
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.extras import required

ADDRESS = "RAY_ADDRESS"
"""Variable with the address of a running cluster, which Ray reads; without it, a cluster on this machine is started."""
Result = tuple[np.ndarray | None, str]  # a vector, or None and the reason; a vector may carry a remark
Batch = Callable[[Sequence[Any]], Sequence[Result]]


def encoded_on_ray(
    batches: Sequence[Sequence[Any]], make: Callable[[], Batch], config: ExtractConfig
) -> Iterator[tuple[Any, Result]]:
    """Each item with its result, in order. ``make`` is called once in each actor and gives what encodes a batch.

    Raises UserError for what an actor reports as one.
    """
    with required():
        import ray
        import ray.data
    if not ray.is_initialized():
        ray.init(log_to_driver=False, configure_logging=False, include_dashboard=False)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    actors = ray.data.ActorPoolStrategy(size=max(1, min(config.actors, len(batches))))
    numbers = ray.data.range(len(batches), override_num_blocks=len(batches))
    found = numbers.map_batches(
        _Actor, batch_size=1, compute=actors, num_cpus=1, fn_constructor_args=(ray.put([*batches]), make)
    )
    for row in found.iter_rows():
        if row["error"]:
            raise UserError(*json.loads(row["error"]))
        batch, remarks, vectors = batches[row["number"]], json.loads(row["remarks"]), load(row["vectors"])
        for place, (item, remark) in enumerate(zip(batch, remarks, strict=True)):
            yield item, (vectors.get(str(place)), remark)


class _Actor:
    """Holds all batches and the encoder; a call encodes one batch."""

    def __init__(self, batches: Any, make: Callable[[], Batch]) -> None:
        import ray

        self.batches, self.encode = ray.get(batches), make()

    def __call__(self, asked: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        (number,) = asked["id"].tolist()
        try:
            results, error = self.encode(self.batches[number]), ""
        except UserError as refused:  # Ray would wrap it
            results, error = [], json.dumps(refused.parts)
        vectors = {str(place): np.ascontiguousarray(v) for place, (v, _) in enumerate(results) if v is not None}
        remarks = json.dumps([remark for _, remark in results])
        return {"number": [number], "vectors": [save(vectors)], "remarks": [remarks], "error": [error]}
