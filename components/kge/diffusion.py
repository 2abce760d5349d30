"""Denoising diffusion of vectors: noise schedules, reverse steps, and a conditional denoiser.

Notation of Ho et al. 2020 (DDPM): b_t the variance added at step t, a_t = 1 − b_t, ā_t = Π a; t goes from 1 to T,
ā_0 = 1.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Predict = Callable[[Tensor, int], Tensor]
CLIP = 3.0  # clip estimates of standardised x₀ to this many deviations; otherwise the first steps diverge


class Schedule:
    """Noise schedule: the share of x₀ left after t of T steps, ``remaining[t]`` = ā_t.

    ``cosine`` (Nichol & Dhariwal 2021, eq. 17) ends in pure noise; ``linear`` is DHNS's 1e-4 → 0.02 for any T, which at
    T = 50 still leaves ā_T = 0.6.
    """

    def __init__(self, kind: Literal["cosine", "linear"], steps: int) -> None:
        self.steps = steps
        if kind == "linear":
            variance = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64)
        else:
            angle = (torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008 * math.pi / 2
            left = angle.cos().square()
            variance = (1 - left[1:] / left[:-1]).clamp(max=0.999)
        self.variance = [0.0, *variance.tolist()]
        self.remaining = [1.0, *(1 - variance).cumprod(0).tolist()]

    def noised(self, clean: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """x_t = √ā_t x₀ + √(1 − ā_t) ε for steps ``[B]`` (eq. 4)."""
        share = self.noise_share(step, clean)
        return (1 - share.square()).sqrt() * clean + share * noise

    def noise_share(self, step: Tensor, like: Tensor) -> Tensor:
        """√(1 − ā_t) ``[B, 1]`` for steps ``[B]``, of the type of ``like``."""
        left = torch.tensor(self.remaining, dtype=torch.float64, device=step.device)[step]
        return (1 - left).sqrt().to(like).unsqueeze(-1)

    def mean(self, state: Tensor, step: int, noise: Tensor) -> Tensor:
        """Mean of x_{t−1} given x_t and its noise: (x_t − b_t/√(1 − ā_t) ε)/√a_t (eq. 11)."""
        variance, left = self.variance[step], self.remaining[step]
        return (state - variance / math.sqrt(1 - left) * noise) / math.sqrt(1 - variance)

    def jump(self, state: Tensor, start: int, end: int, noise: Tensor) -> Tensor:
        """x_s from x_t without new noise, over any distance (Song et al. 2021, DDIM, eq. 12 with σ = 0)."""
        clean = (state - math.sqrt(1 - self.remaining[start]) * noise) / math.sqrt(self.remaining[start])
        clean = clean.clamp(-CLIP, CLIP)
        return math.sqrt(self.remaining[end]) * clean + math.sqrt(1 - self.remaining[end]) * noise


def full_chain(
    schedule: Schedule, state: Tensor, stops: Sequence[int], predict: Predict, random: torch.Generator
) -> list[Tensor]:
    """States at ``stops`` (any order) of the reverse chain from x_T, one denoiser pass per step (DDPM, algorithm 2)."""
    states = {schedule.steps: state}
    for step in range(schedule.steps, min(stops), -1):
        state = schedule.mean(state, step, predict(state, step))
        if step > 1:
            fresh = torch.randn(state.shape, generator=random, device=state.device, dtype=state.dtype)
            state = state + math.sqrt(schedule.variance[step]) * fresh
        states[step - 1] = state
    return [states[stop] for stop in stops]


def strided_chain(schedule: Schedule, state: Tensor, stops: Sequence[int], predict: Predict) -> list[Tensor]:
    """States at ``stops`` of a chain that jumps from stop to stop, with one denoiser pass per stop."""
    states, start = {}, schedule.steps
    for stop in sorted(stops, reverse=True):
        state = schedule.jump(state, start, stop, predict(state, start))
        states[stop] = state
        start = stop
    return [states[stop] for stop in stops]


class Denoiser(nn.Module):
    """ε̂(x_t, t, c): an MLP over [x_t; c; time], as in DHNS's code.

    The paper's eq. 10 ends in a LayerNorm (``normalised``), which forces the estimate to zero mean and unit variance
    for every vector, and its time embedding has ``base`` 1000; the code has no such layer, and base 10000.
    """

    def __init__(self, width: int, hidden: int, normalised: bool = False, base: float = 10_000.0) -> None:
        super().__init__()
        self.width, self.base = width, base
        self.time = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.layers = nn.Sequential(
            nn.LayerNorm(3 * width),
            nn.Linear(3 * width, hidden),
            nn.ReLU(),
            nn.LayerNorm(hidden),
            nn.Linear(hidden, width),
            nn.Linear(width, width),
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        if normalised:
            self.layers.append(nn.LayerNorm(width))
        else:
            nn.init.zeros_(last.weight)  # the initial estimate is zero
            nn.init.zeros_(last.bias)

    def forward(self, state: Tensor, condition: Tensor, step: Tensor) -> Tensor:
        """Estimated noise ``[B, d]`` in ``state[B, d]`` under ``condition[B, d]`` at steps ``[B]``, or ``[1]``."""
        time = self.time(sinusoids(step, self.width, self.base).to(state)).expand_as(state)
        return self.layers(torch.cat([state, condition, time], dim=-1))


def sinusoids(step: Tensor, width: int, base: float = 10_000.0) -> Tensor:
    """Positional encoding ``[B, width]`` of steps ``[B]`` (Vaswani et al. 2017, whose base is 10000)."""
    frequencies = torch.exp(-math.log(base) * torch.arange(0, width, 2, device=step.device) / width)
    angles = step.unsqueeze(-1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[..., :width]
