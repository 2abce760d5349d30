"""A transformer's layer, number by number."""

import math
from typing import Any

from torch import Tensor


def dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def layer_by_loops(layer: Any, tokens: list[list[float]], heads: int) -> list[list[float]]:
    """One layer of a transformer in its first form: attention, then two linear maps, each added and normalised."""

    def linear(vector: list[float], weight: Tensor, bias: Tensor) -> list[float]:
        return [dot(row, vector) + b for row, b in zip(weight.tolist(), bias.tolist(), strict=True)]

    def normalised(one: list[float], other: list[float], norm: Any) -> list[float]:
        both = [a + b for a, b in zip(one, other, strict=True)]
        mean = sum(both) / len(both)
        deviation = math.sqrt(sum((x - mean) ** 2 for x in both) / len(both) + 1e-5)
        return [
            (x - mean) / deviation * w + b
            for x, w, b in zip(both, norm.weight.tolist(), norm.bias.tolist(), strict=True)
        ]

    attention, width = layer.self_attn, len(tokens[0])
    made = [linear(token, attention.in_proj_weight, attention.in_proj_bias) for token in tokens]
    size = width // heads
    mixed: list[list[float]] = [[] for _ in tokens]
    for place in range(0, width, size):
        q, k, v = ([row[p + place : p + place + size] for row in made] for p in (0, width, 2 * width))
        for out, query in zip(mixed, q, strict=True):
            weights = [math.exp(dot(query, key) / math.sqrt(size)) for key in k]
            out += [sum(w * value[i] for w, value in zip(weights, v, strict=True)) / sum(weights) for i in range(size)]
    mixed = [linear(token, attention.out_proj.weight, attention.out_proj.bias) for token in mixed]
    once = [normalised(token, change, layer.norm1) for token, change in zip(tokens, mixed, strict=True)]
    hidden = [[max(0.0, x) for x in linear(token, layer.linear1.weight, layer.linear1.bias)] for token in once]
    changes = [linear(token, layer.linear2.weight, layer.linear2.bias) for token in hidden]
    return [normalised(token, change, layer.norm2) for token, change in zip(once, changes, strict=True)]
