# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Compare negative-sampling strategies
#
# The same model with two strategies: `bernoulli`, which corrupts the side that makes fewer false negatives, and
# `mans-h`, which also exchanges the features of one modality. Only `train` and what follows it run twice; the graph and
# the features come from the cache. Four epochs show how it is done, not which strategy is better: for that, leave
# `train.epochs` out, repeat with several `train.seed`, and read `mmkgc compare RUN RUN` (a paired bootstrap).

# %%
import pandas as pd

import mmkgc

settings = {"train.epochs": 4, "extract.visual": None, "evaluate.bootstrap": 200, "register.promote": False}
results = {
    strategy: mmkgc.run("countries", settings | {"train.negatives.name": strategy})
    for strategy in ("bernoulli", "mans-h")
}

# %%
table = pd.concat({strategy: result.metrics.loc["test"] for strategy, result in results.items()}, names=["strategy"])
table.xs("model", level="scorer")[["mrr", "hits_at_1", "hits_at_10"]].round(3)

# %% [markdown]
# `mmkgc list samplers` shows all of them with their hyper-parameters, which are settings too
# (`"train.negatives.count": 16`). In `mmkgc ui` both runs stand side by side with their curves.
