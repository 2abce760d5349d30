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
# # An entity that the graph does not hold
#
# The encoders of a model are part of it, so that an entity which came after training can be asked about with its text,
# its picture, or both. How well that works depends on the model's missing-structure path: `countries` trains it with
# `structure_dropout`.
#
# This asks the champion that the quick start, or `make run`, has left in the registry.

# %%
import mmkgc

engine = mmkgc.load("models:/countries@champion")

# %%
new = {"text": "An island state in the Baltic Sea whose people speak Swedish and Finnish."}
engine.complete(new, "official language", k=5)

# %% [markdown]
# Another relation; it may stand on either side, and candidates may be restricted, here to entities of one type.

# %%
engine.complete(new, "subregion", k=5)

# %%
types = sorted({kind for kind in engine.bundle.types or () if kind})
types

# %%
engine.complete(relation="borders", tail=new, type="country", k=5)
