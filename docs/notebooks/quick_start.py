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
# # Quick start
#
# Run the bundled graph `countries`, look at the metrics, and ask the model. Twelve epochs and the texts alone keep this
# short; leave `settings` out for the whole recipe. Everything is written to `.mmkgc` in the working folder
# (`$MMKGC_HOME`), and steps whose inputs have not changed come from the cache the next time.

# %%
import mmkgc

settings = {"train.epochs": 12, "extract.visual": None, "evaluate.bootstrap": 200}
result = mmkgc.run("countries", settings)
result

# %% [markdown]
# Metrics by split, scorer and side asked for. *Relation popularity* is the baseline: it ranks an entity by how often it
# fills that slot of the relation in train. The development split selected the epoch; test was read once, at the end.

# %%
result.metrics[["mrr", "hits_at_1", "hits_at_3", "hits_at_10"]].round(3)

# %% [markdown]
# The model of the run answers. `known` marks what the graph holds already, in any split.

# %%
engine = result.load()
engine.complete("Norway", "borders", k=6, exclude_known=False)

# %% [markdown]
# Which of two triples is more plausible, and why?

# %%
print(engine.score("Norway", "borders", "Sweden"), engine.score("Norway", "borders", "Japan"))
explanation = engine.explain("Norway", "borders", "Sweden")
print(explanation.modality_weights)
explanation.similar

# %% [markdown]
# Vectors of all entities, for a plot or for another model:

# %%
vectors = engine.embeddings()
vectors.shape

# %% [markdown]
# A model that was promoted is found in the registry, in this process or any other: `mmkgc complete Norway borders` on
# the command line asks the same one.

# %%
champion = mmkgc.load("models:/countries@champion")
champion.complete("Norway", "borders", k=3)
