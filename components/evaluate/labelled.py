"""The file of classified triples."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmkgc.components.kge.evaluation.classification import LabelledSplits, LabelledTriples
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph


def write_labelled(splits: LabelledSplits, graph: Graph, path: Path) -> None:
    """Write the classified test triples of both protocols, so that results can be recomputed.

    Columns: the keys, ``label``, ``score``, and the ``protocol`` (``standard`` or ``mans``) to which a row belongs.
    """
    tables = {"standard": _table(splits.test, graph), "mans": _table(splits.mans, graph)}
    rows = [table.append_column("protocol", pa.array([name] * len(table))) for name, table in tables.items()]
    pq.write_table(pa.concat_tables(rows), path)


def _table(labelled: LabelledTriples, graph: Graph) -> pa.Table:
    entities, relations = np.array(graph.entities.keys), np.array(graph.relations.keys)
    head, relation, tail = (labelled.triples[:, slot].numpy() for slot in (HEAD, RELATION, TAIL))
    keys = {"head": entities[head], "relation": relations[relation], "tail": entities[tail]}
    words = {name: pa.array(values).dictionary_encode() for name, values in keys.items()}
    return pa.table({**words, "label": labelled.labels.numpy(), "score": labelled.scores.numpy()})
