"""Results of a study: its table and figures, on the terminal and as files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.evaluate import figures as evaluation
from mmkgc.components.evaluate.diagnostics import joint_points, mapped_entities, relation_shares
from mmkgc.components.evaluate.report import Block, Figure, Paragraph, html, markdown
from mmkgc.components.evaluate.slices import entity_masks
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.entity_encoders.base import STRUCTURE
from mmkgc.components.runtime.files import write_text
from mmkgc.components.runtime.nouns import counted
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline.studies import figures
from mmkgc.pipeline.studies.config import Study
from mmkgc.pipeline.studies.tables import Row, measures, problems, table, title


def write(
    name: str,
    study: Study,
    dataset: str,
    rows: Sequence[Row],
    graph_uri: str,
    baseline: Mapping[str, float],
    folder: Path,
) -> None:
    """Write ``study.md``, ``study.html`` and the figures into ``folder``."""
    blocks: list[Block] = [
        Paragraph(about(study, dataset, rows)),
        table(study, rows, baseline),
        *problems(rows),
        *draw(study, rows, graph_uri, baseline, folder),
    ]
    write_text(folder / "study.md", markdown(f"Study {name}", blocks, folder))
    write_text(folder / "study.html", html(f"Study {name}", blocks))


def about(study: Study, dataset: str, rows: Sequence[Row]) -> str:
    """What the study asks, of which data and seeds, and how to read its numbers."""
    seeds = len({row["seed"] for row in rows})
    spread = "; mean ± standard deviation" if seeds > 1 else ""
    of_training = any(name.startswith("train/") for name in measures(study, rows))
    last = " Metrics of the training are those of the last epoch." if of_training else ""
    return f"{study.about} Dataset {Path(dataset).name}, {counted(seeds, 'seed')}{spread}.{last}"


def draw(
    study: Study, rows: Sequence[Row], graph_uri: str, baseline: Mapping[str, float], folder: Path
) -> Iterator[Figure]:
    """Draw what the study asks for; kinds that show embeddings or weights show the first seed."""
    rows = [row for row in rows if "problem" not in row]
    names = measures(study, rows)
    for kind in study.draw if rows else ():
        if kind == "curves":
            for name in names:
                if len({row["value"] for row in rows if name in row["metrics"]}) < 2:
                    continue  # a measure of one value makes no curve
                file = folder / f"{name.replace('/', '_')}.png"
                yield _saved(
                    figures.sweep(study, rows, name, baseline.get(name)), file, f"{title(name)} by {study.value}"
                )
        elif kind == "bars":
            yield _saved(figures.bars(study, rows, names), folder / "bars.png", "Means over seeds")
        elif kind == "epochs":
            of_training = [name.removeprefix("train/") for name in names if name.startswith("train/")]
            of_development = [name for name in names if name.startswith("dev/")]
            for drawn, shown in (("epochs.png", of_training), ("epochs_dev.png", of_development)):
                if shown:
                    what = title(shown[0]) if len(shown) == 1 else "Metrics of the training"
                    yield _saved(figures.epochs(study, rows, shown), folder / drawn, f"{what} by epoch")
        elif kind in ("map", "weights"):
            yield from _of_models(kind, rows, graph_uri, folder)


def _of_models(kind: str, rows: Sequence[Row], graph_uri: str, folder: Path) -> Iterator[Figure]:
    storage = open_storage()
    mmkg, first = MMKG.load(storage.fetch(graph_uri)), min(row["seed"] for row in rows)
    for row in (row for row in rows if row["seed"] == first):
        model = Bundle.load(storage.fetch(row["bundle"])).model
        label = " ".join(filter(None, [row["system"], row["value"]]))
        file, masks = folder / f"{kind}_{label.replace(' ', '_').replace('/', '_')}.png", entity_masks(mmkg, model)
        if kind == "weights":
            shares = relation_shares(model, mmkg.graph.test, mmkg.graph, masks)
            if shares:
                yield _saved(
                    evaluation.modality_weights(shares), file, f"{label}: weights of the modalities by relation"
                )
            continue
        entities = mapped_entities(mmkg.graph)
        kinds = [mmkg.graph.types[entity] or "other" for entity in entities.tolist()] if mmkg.graph.types else []
        kinds = kinds or ["entity"] * len(entities)
        for method in ("PCA", "t-SNE"):
            points = joint_points(model, masks, entities, method)
            drawn = figures.joint_map(points, kinds, method)
            target = file.with_stem(f"{file.stem}_{method.lower()}")
            yield _saved(drawn, target, f"{label}: {STRUCTURE} and features in one space, {method}")


def _saved(figure: object, path: Path, caption: str) -> Figure:
    return Figure(evaluation.save(figure, path), caption)  # type: ignore[arg-type]
