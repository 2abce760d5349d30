"""What a run on a dataset folder will need and what it has to beat, measured here on parts of its own work."""

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

import torch

from mmkgc.components.dataset.findings import Findings
from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.modalities.files import FileModality
from mmkgc.components.dataset.raw import RawGraph
from mmkgc.components.dataset.readers import read
from mmkgc.components.encoders.registry import create
from mmkgc.components.extract.config import ImportedConfig
from mmkgc.components.ingest.check import check
from mmkgc.components.kge.evaluation.baseline import NearestContent, RelationPopularity
from mmkgc.components.kge.evaluation.ranks import Scorer, mrr, rank
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.runtime.errors import Unusable
from mmkgc.components.train.needs import needs
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline.config import Recipe

ITEMS = 16  # texts or pictures that are encoded, to measure the time of one
STEPS = 3  # training steps that are measured, after a first one that also warms up
QUERIES = 256  # development triples that are ranked, to measure the time of one
RANKED = 500  # development triples that the baselines rank, at most
WORDS = 20_000  # entities, above which texts are not compared
EVALUATIONS = 9  # rankings of the test split in `evaluate`: the model, two baselines, and six shares of hidden content
START = 20.0  # seconds of the steps for anything else, as of `mmkgc run countries` on idle cores


class Forecast(NamedTuple):
    """Seconds of a run by part on idle cores, how many times longer they take beside what runs now, memory in bytes
    (the larger of what the samples took and what training needs), and development MRR of baselines by name.
    """

    seconds: Mapping[str, float]
    slowdown: float
    memory: int
    baselines: Mapping[str, float]


class Watch:
    """Measures what would take the time on idle cores: that of this thread, which takes part in all the work."""

    def __init__(self) -> None:
        self.idle = self.wall = 0.0

    def seconds(self, work: Callable[[], object]) -> float:
        """Seconds of ``work``, which is done once."""
        wall, idle = time.monotonic(), time.thread_time()
        work()
        seconds = time.thread_time() - idle
        self.idle, self.wall = self.idle + seconds, self.wall + time.monotonic() - wall
        return seconds


def forecast(folder: Path, recipe: Recipe) -> Forecast:
    """Measure samples of a run of ``recipe`` on a checked dataset folder; nothing is written."""
    raw = read(folder)
    splits = check(raw, recipe.ingest, open_storage(), Findings()).splits
    triples = {name: torch.from_numpy(part).long() for name, part in splits.items()}
    entities, relations = raw.entities.vocabulary(), raw.relations.vocabulary()
    graph = Graph(entities, relations, types=tuple(raw.types) if raw.types else None, **triples)
    watch = Watch()
    seconds, widths = {}, {}
    for modality in recipe.extract.modalities():
        seconds[f"{MODALITIES[modality].noun}s"], widths[modality] = _encoding(raw, recipe, modality, watch)
    seconds |= _training(graph, {m: width for m, width in widths.items() if width}, recipe, watch)
    training = needs(recipe.train, len(graph.entities), len(graph.train), widths)
    memory = max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, sum(training.memory.values()))
    slowdown = max(1.0, watch.wall / max(watch.idle, 1e-9))
    return Forecast(seconds | {"start": START}, slowdown, memory, _baselines(graph, raw))


def _encoding(raw: RawGraph, recipe: Recipe, modality: str, watch: Watch) -> tuple[float, int]:
    """Seconds to encode all items of a modality, and the width of their vectors; 0 and 0 without items."""
    kind, config = MODALITIES[modality], recipe.extract.encoder(modality)
    named = zip(raw.entities.names, raw.contents[modality], strict=True)
    items = [item for name, content in named for item in kind.items(name, content)]
    if not items or isinstance(config, ImportedConfig):
        return 0.0, 0
    encoder = create(config).fit(items)
    some = [
        _opened(kind, raw.folder / item) if isinstance(kind, FileModality) else item
        for item in items[:: ceil(len(items) / ITEMS)]
    ]
    encoder.encode(some[:1])  # builds the network
    seconds = watch.seconds(lambda: encoder.encode(some))
    return seconds / len(some) * len(items), encoder.dimension


def _opened(kind: FileModality, path: Path) -> object:
    try:
        return kind.decode(path.read_bytes(), {})
    except (OSError, Unusable):
        return None


def _training(graph: Graph, widths: Mapping[str, int], recipe: Recipe, watch: Watch) -> dict[str, float]:
    """Seconds of all epochs and of the rankings, from a few steps and queries with features of random numbers."""
    count = len(graph.entities)
    seen = torch.ones(count, dtype=torch.bool)
    features = {name: Features(torch.randn(count, width), seen) for name, width in widths.items()}
    trainer = Trainer(graph, features, recipe.train)
    rows = torch.arange(min(recipe.train.batch_size, len(graph.train)))
    trainer.step(rows)
    step = watch.seconds(lambda: [trainer.step(rows) for _ in range(STEPS)]) / STEPS
    known = _known(graph)

    def ranking(count: int) -> float:
        return watch.seconds(lambda: rank(trainer.model, graph.valid[:count], known))

    ranking(1)  # compiles the kernels
    fixed, some = ranking(1), ranking(QUERIES)  # every ranking encodes all entities first
    query = max(some - fixed, 0.0) / max(min(QUERIES, len(graph.valid)) - 1, 1)
    selections = recipe.train.epochs // recipe.train.evaluate_every
    return {
        "training": step * trainer.batches * recipe.train.epochs + (fixed + query * len(graph.valid)) * selections,
        "evaluation": (fixed + query * len(graph.test)) * EVALUATIONS,
    }


def _known(graph: Graph) -> KnownTriples:
    return KnownTriples(graph.selection_triples, len(graph.entities), len(graph.relations))


def _baselines(graph: Graph, raw: RawGraph) -> dict[str, float]:
    """Development MRR of what needs no training. Texts are compared by their words, which needs no network."""
    scorers: dict[str, Scorer] = {"relation popularity": RelationPopularity(graph)}
    texts = [item for name, content in zip(raw.entities.names, raw.contents["textual"], strict=True)
             for item in MODALITIES["textual"].items(name, content) or ("",)]  # fmt: skip
    if len(texts) <= WORDS and any(raw.contents["textual"]):
        scorers["nearest text, by its words"] = NearestContent(graph, _words(texts))
    step = ceil(len(graph.valid) / RANKED)
    known = _known(graph)
    return {name: mrr(rank(scorer, graph.valid[::step], known)) for name, scorer in scorers.items()}


def _words(texts: Sequence[str]) -> Features:
    """Vectors of texts from the words that they share."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    found = TfidfVectorizer(min_df=2, token_pattern=r"\w+").fit_transform([*texts, *texts[:1]])[: len(texts)]
    width = min(128, found.shape[1] - 1)
    vectors = TruncatedSVD(width, random_state=0).fit_transform(found) if width > 1 else found.toarray()
    return Features(torch.from_numpy(vectors).float(), torch.ones(len(texts), dtype=torch.bool))
