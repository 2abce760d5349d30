"""The file of classified triples."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmkgc.components.kge.evaluation.classification import LabelledTriples
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph


def write_labelled(labelled: LabelledTriples, graph: Graph, path: Path) -> None:
    """Write the classified triples (keys, label, score), including negatives, so that results can be recomputed."""
    entities, relations = np.array(graph.entities.keys), np.array(graph.relations.keys)
    head, relation, tail = (labelled.triples[:, slot].numpy() for slot in (HEAD, RELATION, TAIL))
    keys = {"head": entities[head], "relation": relations[relation], "tail": entities[tail]}
    words = {name: pa.array(values).dictionary_encode() for name, values in keys.items()}
    pq.write_table(pa.table({**words, "label": labelled.labels.numpy(), "score": labelled.scores.numpy()}), path)
