"""The report's look at the negatives of training: names, pictures, scores, and false negatives."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.encoders.images import Unusable, decode
from mmkgc.components.evaluate import figures
from mmkgc.components.evaluate.report import Block, Heading, Paragraph, Table
from mmkgc.components.evaluate.report import Figure as ReportFigure
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.runtime.errors import printable
from mmkgc.components.runtime.nouns import counted

PIXELS = 160
COLUMNS = 5
Blob = Callable[[str], bytes]


def negatives(bundle: Bundle, mmkg: MMKG, blob: Blob, folder: Path) -> Iterator[Block]:
    """Heading, table and figure of what training looked at; nothing if the bundle tells of no sampler."""
    found = bundle.provenance.get("negatives")
    if not found:
        return
    sampler = bundle.config["negatives"]["name"]
    yield Heading("Negatives")
    yield Paragraph(
        f"What sampler {sampler}, as training left it, makes of {counted(len(found['shown']), 'train triple')}."
        f"{_false(found)}"
    )
    yield Table(["triple or negative", "kind", "score"], list(_rows(found["shown"], mmkg)))
    if figure := _pictures(found["shown"], mmkg, blob):
        path = figures.save(figure, folder / "negatives.png")
        yield ReportFigure(
            path, "Train triples (left) and their negatives; ≈ is the real entity nearest to a generated one"
        )


def _false(found: dict[str, Any]) -> str:
    if not found["sampled"]:
        return ""
    share = found["false"] / found["sampled"]
    return (
        f" Of {found['sampled']} sampled entities {found['false']} ({share:.2%}) make a triple of the development "
        "split: negatives that are true, which training cannot know."
    )


def _rows(shown: list[dict[str, Any]], mmkg: MMKG) -> Iterator[list[str]]:
    for each in shown:
        yield [_sentence(each["triple"], mmkg), "train triple", f"{each['score']:.2f}" if "score" in each else ""]
        for negative in each["negatives"]:
            sides = {side: _named(negative[side], mmkg) for side in ("head", "tail") if side in negative}
            head, relation, tail = _names(each["triple"], mmkg)
            changed = f"{sides.get('head', head)} – {relation} – {sides.get('tail', tail)}"
            yield [f"    {changed}", negative["kind"], f"{negative['score']:.2f}"]


def _named(made: dict[str, Any], mmkg: MMKG) -> str:
    """A negative entity: its name, whose features it has, or the real entities nearest to a generated one."""
    names = mmkg.graph.entities.names
    if "nearest" in made:
        near = (f"{m} ≈ {names[of['entity']]} ({of['cosine']:.2f})" for m, of in made["nearest"].items())
        return f"generated [{'; '.join(near)}]"
    parts = [f"{m} of {names[entity]}" for m, entity in made.get("parts", {}).items() if entity != made["entity"]]
    return names[made["entity"]] + (f" [{'; '.join(parts)}]" if parts else "")


def _names(triple: list[int], mmkg: MMKG) -> tuple[str, str, str]:
    head, relation, tail = triple
    graph = mmkg.graph
    return graph.entities.names[head], graph.relations.names[relation], graph.entities.names[tail]


def _sentence(triple: list[int], mmkg: MMKG) -> str:
    return " – ".join(_names(triple, mmkg))


@rc_context(figures.STYLE)
def _pictures(shown: list[dict[str, Any]], mmkg: MMKG, blob: Blob) -> Figure | None:
    """A row a triple: the replaced entity and those that replace it; None if none of them has a picture."""
    rows = [[(_sentence(each["triple"], mmkg), None), *_cells(each)] for each in shown]
    if not any(_picture(entity, mmkg, blob) for row in rows for _, entity in row if entity is not None):
        return None
    figure = Figure(figsize=(2.6 * COLUMNS, 2 * len(rows)), layout="constrained")
    for axes, (label, entity) in zip(
        figure.subplots(len(rows), COLUMNS, squeeze=False).flatten(),
        ((cell[0], cell[1]) for row in rows for cell in (row + [("", None)] * COLUMNS)[:COLUMNS]),
        strict=True,
    ):
        _draw(axes, label, entity, mmkg, blob)
    figure.suptitle("Negatives of train triples")
    return figure


def _cells(each: dict[str, Any]) -> Iterator[tuple[str, int | None]]:
    """Prefix of the caption and the entity that each negative shows; kinds (sampled, generated, …) take turns."""
    seen: Counter[str] = Counter()
    turns = []
    for negative in each["negatives"]:
        turns.append((seen[negative["kind"]], negative))
        seen[negative["kind"]] += 1
    for _, negative in sorted(turns, key=itemgetter(0)):
        for side in ("head", "tail"):
            if side not in negative:
                continue
            made = negative[side]
            if "nearest" in made:
                of = made["nearest"].get("visual") or next(iter(made["nearest"].values()))
                yield f"{side} ≈ ", of["entity"]
            else:
                yield f"{side}: ", made.get("parts", {}).get("visual", made["entity"])


def _draw(axes: Axes, label: str, entity: int | None, mmkg: MMKG, blob: Blob) -> None:
    axes.set_axis_off()
    if entity is None:
        axes.text(0.5, 0.5, _wrapped(label), ha="center", va="center", fontsize=12)
        return
    axes.set_title(_wrapped(label + mmkg.graph.entities.names[entity]), fontsize=11)
    if (picture := _picture(entity, mmkg, blob)) is not None:
        axes.imshow(picture)
    else:
        axes.text(0.5, 0.5, "no picture", ha="center", va="center", fontsize=11, color=figures.NEUTRAL)


def _picture(entity: int, mmkg: MMKG, blob: Blob) -> Any | None:
    for digest in mmkg.content("visual")[entity] or ():
        with suppress(Unusable, OSError):
            image = decode(blob(digest)).convert("RGB")
            image.thumbnail((PIXELS, PIXELS))
            return image
    return None


def _wrapped(text: str, width: int = 24) -> str:
    from textwrap import fill

    return fill(printable(text), width)
