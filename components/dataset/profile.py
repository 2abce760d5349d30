"""Statistics of a graph."""

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.kge.graph import HEAD, TAIL
from mmkgc.components.runtime.errors import printable


def counts(mmkg: MMKG) -> dict[str, int]:
    """Sizes of the graph, coverage of its modalities, and test triples with an entity without train triples."""
    graph = mmkg.graph
    return {
        "entities": len(graph.entities),
        "relations": len(graph.relations),
        "train": len(graph.train),
        "valid": len(graph.valid),
        "test": len(graph.test),
        "known": len(graph.known),
        "unseen_in_test": unseen(mmkg),
        **{f"with_{modality.noun}": sum(mmkg.has(name)) for name, modality in MODALITIES.items()},
    }


def unseen(mmkg: MMKG) -> int:
    """Number of test triples with an entity without train triples, which only its modalities can rank."""
    ends = [HEAD, TAIL]
    seen = mmkg.graph.train.new_zeros(len(mmkg.graph.entities)).bool()
    seen[mmkg.graph.train[:, ends].flatten()] = True
    return int((~seen[mmkg.graph.test[:, ends]]).any(dim=1).sum())


def summary(mmkg: MMKG) -> str:
    """A few lines about the graph, with everything that ingest found."""
    n = {name: f"{count:,}" for name, count in counts(mmkg).items()}
    lines = [
        f"{mmkg.info['name']}: {n['entities']} entities, {n['relations']} relations",
        f"  triples: {n['train']} train, {n['valid']} valid, {n['test']} test, {n['known']} known to the filter only",
        "  modalities: entities with " + ", ".join(f"{m.noun}s {n[f'with_{m.noun}']}" for m in MODALITIES.values()),
        f"  unseen: {n['unseen_in_test']} test triples have an entity that train never shows",
    ]
    lines += [f"  note: {note}" for note in mmkg.info["notes"]]
    lines += [f"  WARNING: {warning}" for warning in mmkg.info["warnings"]]
    return "\n".join(map(printable, lines))
