"""The report's look at negatives: names, pictures, false negatives."""

from dataclasses import replace
from io import BytesIO

from PIL import Image

from mmkgc.components.evaluate.negatives import negatives
from mmkgc.components.evaluate.report import Figure, Heading, Paragraph, Table

FOUND = {
    "shown": [
        {
            "triple": [0, 1, 2],
            "score": -1.5,
            "negatives": [
                {"kind": "negatives", "score": -3.25, "tail": {"entity": 4}},
                {"kind": "negatives", "score": -3.5, "head": {"entity": 0, "parts": {"textual": 5}}},
                {"kind": "graded", "score": -2.0, "tail": {"nearest": {"structure": {"entity": 6, "cosine": 0.5}}}},
            ],
        }
    ],
    "sampled": 200,
    "false": 3,
}


def looked(bundle, mmkg, folder, blob=None):
    provenance = bundle.provenance | {"negatives": FOUND}
    config = bundle.config | {"negatives": {"name": "mans-v"}}
    return list(negatives(replace(bundle, provenance=provenance, config=config), mmkg, blob, folder))


def test_the_report_names_what_training_compared_with(toy_bundle, toy_mmkg, tmp_path):
    heading, paragraph, table = looked(toy_bundle, toy_mmkg, tmp_path)
    assert isinstance(heading, Heading)
    assert isinstance(paragraph, Paragraph)
    assert isinstance(table, Table)
    assert "mans-v" in paragraph.text
    assert "200 sampled entities 3 (1.50%)" in paragraph.text
    name, relation = toy_mmkg.graph.entities.names, toy_mmkg.graph.relations.names[1]
    assert [row[0].strip() for row in table.rows] == [
        f"{name[0]} – {relation} – {name[2]}",
        f"{name[0]} – {relation} – {name[4]}",
        f"{name[0]} [textual of {name[5]}] – {relation} – {name[2]}",
        f"{name[0]} – {relation} – generated [structure ≈ {name[6]} (0.50)]",
    ]


def test_pictures_are_drawn_where_entities_have_some(toy_bundle, toy_mmkg, tmp_path):
    data = BytesIO()
    Image.new("RGB", (40, 20), "red").save(data, "PNG")
    pictured = replace(toy_mmkg, contents=toy_mmkg.contents | {"visual": (("blob",),) * len(toy_mmkg.graph.entities)})
    *_, figure = looked(toy_bundle, pictured, tmp_path, lambda digest: data.getvalue())
    assert isinstance(figure, Figure)
    assert Image.open(figure.path).size[0] > 500


def test_a_model_without_a_sampler_has_no_such_section(toy_bundle, toy_mmkg, tmp_path):
    provenance = {name: value for name, value in toy_bundle.provenance.items() if name != "negatives"}
    assert list(negatives(replace(toy_bundle, provenance=provenance), toy_mmkg, bytes, tmp_path)) == []
