"""A table of vectors that is divided by rows among processes, by TorchRec. All processes make the same calls.

N rows of the table, e width, U ids that a process asks for, n of the N rows on this process.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mmkgc.components.runtime.extras import required

TABLE, FEATURE = "vectors", "entity"
MULTIPLE = 4
"""FBGEMM takes vectors whose width is a multiple of this."""


class ShardedRows:
    """``[N, e]``, of which process p of P holds the rows from p ⌈N/P⌉ on.

    Reading sends ids to the processes that hold the rows, and vectors back; the backward pass sends gradients. The
    owner sums the gradients of a row over all processes and changes it at once, by row-wise Adagrad:
    s_i ← s_i + mean(g_i²), θ_i ← θ_i − lr · g_i / (√s_i + ε). A step therefore costs the rows that were read. The
    gradients are sums, not means over the processes.
    """

    def __init__(self, table: Tensor, lr: float, epsilon: float) -> None:
        """Take this process's rows of ``table`` ``[N, e]``, which is the same everywhere, and join the others."""
        with required():
            from torchrec import EmbeddingCollection, EmbeddingConfig
            from torchrec.distributed.comm_ops import set_gradient_division
            from torchrec.distributed.embedding import EmbeddingCollectionSharder
            from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
            from torchrec.distributed.types import ShardingEnv
            from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward
            from torchrec.optim.rowwise_adagrad import RowWiseAdagrad
        set_gradient_division(False)
        self.shape, device, processes = table.shape, table.device, dist.get_world_size()
        config = EmbeddingConfig(
            name=TABLE, num_embeddings=table.shape[0], embedding_dim=table.shape[1], feature_names=[FEATURE]
        )
        whole = EmbeddingCollection(tables=[config], device=torch.device("meta"))
        apply_optimizer_in_backward(RowWiseAdagrad, whole.parameters(), {"lr": lr, "eps": epsilon})
        sharder: Any = EmbeddingCollectionSharder()
        plan = construct_module_sharding_plan(
            whole,
            {TABLE: row_wise(compute_kernel="fused")},
            sharder=sharder,
            local_size=processes,
            world_size=processes,
            device_type=device.type,
        )
        assert dist.group.WORLD is not None
        self._rows = sharder.shard(whole, plan, ShardingEnv.from_process_group(dist.group.WORLD), device)
        (self.local,) = _shards(self._rows.state_dict().values())
        states = self._rows.fused_optimizer.state_dict()["state"].values()
        (self.sums,) = _shards(tensor for state in states for tensor in state.values())
        own = slice_of(table.shape[0], dist.get_rank(), processes)
        assert len(self.local) == own.stop - own.start
        self.local.copy_(table.detach()[own])

    def read(self, ids: Tensor) -> Tensor:
        """The vectors ``[U, e]`` of ``ids`` ``[U]``."""
        from torchrec import KeyedJaggedTensor

        asked = KeyedJaggedTensor(keys=[FEATURE], values=ids, lengths=torch.tensor([len(ids)], device=ids.device))
        return self._rows(asked).wait()[FEATURE].values()

    @torch.no_grad()
    def all(self) -> Tensor:
        """The whole table ``[N, e]`` on every process."""
        whole = self.local.new_zeros(self.shape)
        whole[slice_of(self.shape[0], dist.get_rank(), dist.get_world_size())] = self.local
        dist.all_reduce(whole)
        return whole

    def set_learning_rate(self, lr: float) -> None:
        """Set the learning rate of the next backward pass."""
        for group in self._rows.fused_optimizer.param_groups:
            group["lr"] = lr
        self._rows.fused_optimizer.step()  # passes the learning rate on; the rows change in the backward pass alone

    def state_dict(self) -> dict[str, Tensor]:
        """This process's accumulators s ``[n]``; the vectors are part of the model's state."""
        return {"sums": self.sums}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore this process's accumulators."""
        self.sums.copy_(state["sums"])


def slice_of(n_rows: int, process: int, processes: int) -> slice:
    """The rows that a process holds: ⌈N/P⌉ each, and the last ones what is left."""
    each = -(-n_rows // processes)
    return slice(min(n_rows, process * each), min(n_rows, (process + 1) * each))


def _shards(tensors: Any) -> list[Tensor]:
    """The parts of sharded tensors that this process holds, as views."""
    return [shard.tensor for tensor in tensors for shard in tensor.local_shards()]
