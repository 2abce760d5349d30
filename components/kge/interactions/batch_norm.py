"""Batch normalisation that accepts a batch of one row."""

from torch import Tensor, nn
from torch.nn.functional import batch_norm


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of ``[B, d]``; a single row, which has no variance, takes the running statistics."""

    def forward(self, vectors: Tensor) -> Tensor:
        if self.training and len(vectors) == 1:
            return batch_norm(vectors, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(vectors)
