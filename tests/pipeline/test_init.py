"""``mmkgc init`` as a user calls it: every kind of source becomes a folder that ingest accepts."""

import gzip
import json
import tarfile
import zipfile

import pytest
from click.testing import CliRunner
from PIL import Image

from mmkgc.components.dataset.findings import Findings
from mmkgc.components.dataset.readers import read
from mmkgc.components.ingest.check import check, survey
from mmkgc.components.ingest.config import IngestConfig
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline.cli.init import init

DIRECTORS = ["Ida Holm", "Jon Vik", "Mara Stone"]
GENRES = ["Drama", "War", "Crime"]
NAMES = [f"{first} {second}" for second in ("Train", "River", "Garden") for first in ("Night", "Last", "Lost", "Red")]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))


@pytest.fixture
def films(tmp_path):
    """A table of twelve films, and posters beside it."""
    (tmp_path / "source" / "posters").mkdir(parents=True)
    lines = ["Title,Plot,Poster,Director,Genres,Year,Homepage"]
    for at, name in enumerate(NAMES):
        Image.new("RGB", (8, 8), (at, 0, 0)).save(tmp_path / "source" / "posters" / f"{at}.png")
        plot = f'"{name} tells, at some length, of two people who meet and part; it has number {at}."'
        genres = f"{GENRES[at % 3]}|{GENRES[(at + 1) % 3]}"
        lines.append(f"{name},{plot},posters/{at}.png,{DIRECTORS[at % 3]},{genres},{1990 + at},http://x.org/{at}")
    (tmp_path / "source" / "films.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "source" / "films.csv"


def call(*arguments, stdin=None):
    """The output; an error is raised."""
    result = CliRunner().invoke(init, [*map(str, arguments), "--no-estimate"], input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return str(caught.value)


def names(raw, triples):
    entities, relations = raw.entities.names, raw.relations.names
    return {(entities[h], relations[r], entities[t]) for h, r, t in triples.tolist()}


def facts(folder):
    """Names of all triples of a written folder, which ingest accepts."""
    raw = read(folder)
    splits = check(raw, IngestConfig(), open_storage(), Findings()).splits
    return set().union(*(names(raw, part) for part in splits.values()))


def test_a_table_of_films_becomes_a_dataset_with_texts_posters_and_numbers(films, tmp_path):
    said = call(films)
    folder = tmp_path / "films"
    _, counts, findings = survey(str(folder), IngestConfig(), open_storage())
    assert (counts["entities"], counts["with_description"], counts["with_image"], counts["with_number"]) == (
        18,
        12,
        12,
        12,
    )
    assert findings.warnings == []
    assert counts["valid"]
    assert counts["test"]
    assert not counts["unseen_in_test"]
    expected = {(name, "Director", DIRECTORS[at % 3]) for at, name in enumerate(NAMES)}
    expected |= {(name, "Genres", GENRES[(at + more) % 3]) for at, name in enumerate(NAMES) for more in (0, 1)}
    assert facts(folder) == expected
    assert set(read(folder).types) == {"film", "director", "genre"}
    assert "Homepage  ignore" in said
    assert "relation" in said
    assert said.rstrip().endswith("next:  mmkgc run films --set extract.numeric=literals")
    assert "## What was found" in (folder / "README.md").read_text()


def test_columns_are_named_by_the_user_and_several_tables_name_each_other(films, tmp_path):
    people = [
        "name,born in",
        *(f"{name},{town}" for name, town in zip(DIRECTORS, ("Oslo", "Rome", "Oslo"), strict=True)),
    ]
    (films.parent / "people.csv").write_text("\n".join(people) + "\n")
    call(films.parent, "--to", "graph", "--columns", "relation:directed by=Director,ignore=Year")
    found = facts(tmp_path / "graph")
    assert ("Night Train", "directed by", "Ida Holm") in found
    assert ("Ida Holm", "born in", "Oslo") in found
    assert not any(read(tmp_path / "graph").contents["numeric"])
    types = dict(zip(read(tmp_path / "graph").entities.names, read(tmp_path / "graph").types, strict=True))
    assert (types["Ida Holm"], types["Oslo"]) == ("people", "born_in")


def test_pictures_are_found_by_name_also_in_an_archive(films, tmp_path):
    text = films.read_text().replace("Poster", "Nothing").replace("posters/", "none ")
    films.write_text(text.replace(".png", ""))
    with zipfile.ZipFile("pictures.zip", "w") as zipped:
        for at, name in enumerate(NAMES):
            zipped.write(films.parent / "posters" / f"{at}.png", f"all/{name.lower().replace(' ', '_')}.png")
        zipped.write(films.parent / "posters" / "0.png", "all/night_train-2.png")
        zipped.write(films.parent / "posters" / "0.png", "all/other.png")
    said = call(films, "--images", "pictures.zip")
    raw = read(tmp_path / "films")
    pictures = dict(zip(raw.entities.names, raw.contents["visual"], strict=True))
    assert pictures["Last Train"] == ("images/Last_Train.png",)
    assert pictures["Night Train"] == ("images/Night_Train.png", "images/Night_Train-2.png")
    assert "pictures whose name is no entity's: 1" in said


TRIPLES = [(f"c{i}", "borders", f"c{j}") for i in range(6) for j in range(6) if i != j]
TRIPLES += [(f"t{i}", "lies_in", f"c{i % 6}") for i in range(12)] + [(f"t{i}", "near", f"t{i + 1}") for i in range(11)]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2)])
@pytest.mark.parametrize("header", [False, True])
def test_headerless_triples_are_read_in_the_order_that_their_vocabularies_show(tmp_path, order, header):
    rows = [("subject", "predicate", "object")] * header + TRIPLES
    text = "\n".join("\t".join(row[at] for at in order) for row in rows)
    (tmp_path / "places.txt").write_text(text + "\n")
    said = call("places.txt")
    assert facts(tmp_path / "places") == {(h, r.replace("_", " "), t) for h, r, t in TRIPLES}
    assert "symmetric    borders" in said


def test_splits_stay_and_files_beside_them_give_names_texts_and_numbers(tmp_path):
    folder = tmp_path / "bench"
    folder.mkdir()
    parts = {"train": TRIPLES[:40], "valid": TRIPLES[40:49], "test": TRIPLES[49:]}
    for name, part in parts.items():
        (folder / f"{name}.txt").write_text("\n".join(map("\t".join, part)) + "\n")
    keys = sorted({key for h, _, t in TRIPLES for key in (h, t)})
    (folder / "entity2text.txt").write_text("\n".join(f"{key}\tThe {key}" for key in keys) + "\n")
    (folder / "entity2textlong.txt").write_text("\n".join(f"{key}\tof {key}" for key in keys) + "\n")
    (folder / "numbers.txt").write_text("\n".join(f"{key}\tsize\t{at}" for at, key in enumerate(keys)) + "\n")
    (folder / "entities.dict").write_text("\n".join(f"{at}\t{key}" for at, key in enumerate(keys)) + "\n")
    with tarfile.open("bench.tar.gz", "w:gz") as tarred:
        tarred.add(folder, "bench")
    said = call("bench.tar.gz", "--to", "out")
    raw = read(tmp_path / "out")
    assert {name: len(getattr(raw, name)) for name in parts} == {name: len(part) for name, part in parts.items()}
    assert raw.entities.names[raw.entities.vocabulary().ids["c0"]] == "The c0"
    assert all(raw.contents["textual"])
    assert all(raw.contents["numeric"])
    assert "entities.dict" in said


def test_a_split_that_an_inverse_reveals_is_warned_of_and_test_triples_leave_train(tmp_path):
    folder = tmp_path / "leaky"
    folder.mkdir()
    pairs = [(f"a{i}", f"b{j}") for i in range(6) for j in range(6)]
    train = [(h, "owns", t) for h, t in pairs] + [(t, "owned_by", h) for h, t in pairs[:30]]
    test = [(t, "owned_by", h) for h, t in pairs[30:]] + [train[-1]]
    for name, part in {"train": train, "test": test}.items():
        (folder / f"{name}.tsv").write_text("\n".join(map("\t".join, part)) + "\n")
    said = call(folder, "--to", "out")
    assert "LEAKAGE: 100% of the test triples" in said
    assert "inverse      " in said
    assert "owns" in said
    assert "1 train triple is also in test" in said
    assert len(read(tmp_path / "out").train) == len(train) - 1


TURTLE = """\
@prefix ex: <http://ex.org/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix foaf: <http://xmlns.com/foaf/0.1/> .
ex:c0 a ex:City ; rdfs:label "Oslo"@nb, "Oslo city"@en ; rdfs:comment "A\\ttown."@en ; ex:people 700000 ;
  foaf:depiction <oslo.png>, <http://x.org/far.png> .
ex:near rdfs:label "is near" .
[] ex:near ex:c0 .
"""


def links(count=8):
    return "".join(f"ex:c{i} ex:near ex:c{(i + step) % count} .\n" for i in range(count) for step in (1, 2))


def test_turtle_gives_labels_texts_types_numbers_pictures_and_prefixes(tmp_path):
    (tmp_path / "towns.ttl").write_text(TURTLE + links())
    Image.new("RGB", (8, 8)).save(tmp_path / "oslo.png")
    said = call("towns.ttl")
    raw = read(tmp_path / "towns")
    row = raw.entities.vocabulary().ids["http://ex.org/c0"]
    assert (raw.entities.names[row], raw.types[row]) == ("Oslo city", "City")
    assert raw.contents["textual"][row] == "A town."
    assert raw.contents["numeric"][row] == (("people", 700000.0),)
    assert raw.contents["visual"][row] == ("images/Oslo_city.png",)
    assert tuple(raw.relations.names) == ("is near",)
    assert raw.card.prefixes["ex"] == "http://ex.org/"
    assert "Left out: 1 statement with a blank node as subject." in said
    assert (tmp_path / "towns" / "image_links.txt").read_text().endswith("http://x.org/far.png\n")
    assert len(facts(tmp_path / "towns")) == 16


def test_every_format_of_rdf_gives_the_same_graph(tmp_path):
    import pyoxigraph as ox

    quads = list(ox.parse((TURTLE + links()).encode(), format=ox.RdfFormat.TURTLE, base_iri="http://base.org/"))
    quads = [quad for quad in quads if isinstance(quad.subject, ox.NamedNode)]
    formats = {"nt": ox.RdfFormat.N_TRIPLES, "rdf": ox.RdfFormat.RDF_XML, "jsonld": ox.RdfFormat.JSON_LD}
    found = {}
    for suffix, form in formats.items():
        data = ox.serialize([quad.triple if suffix != "jsonld" else quad for quad in quads], format=form)
        (tmp_path / f"{suffix}s.{suffix}.gz").write_bytes(gzip.compress(data))
        call(f"{suffix}s.{suffix}.gz", "--to", suffix)
        raw = read(tmp_path / suffix)
        found[suffix] = facts(tmp_path / suffix), sorted(zip(raw.entities.keys, raw.contents["textual"], strict=True))
    assert found["nt"] == found["rdf"] == found["jsonld"]
    assert len(found["nt"][0]) == 16


def test_a_malformed_line_of_a_dump_is_named(tmp_path):
    (tmp_path / "bad.nt").write_text("<http://a> <http://p> <http://b> .\n<http://a> <http://p> oops .\n")
    assert "bad.nt, line 2" in refused("bad.nt")
    assert not (tmp_path / "bad").exists()


def test_openke_and_pykeen_folders_keep_their_triples(tmp_path):
    openke, pykeen = tmp_path / "openke", tmp_path / "pykeen"
    entities = sorted({key for h, _, t in TRIPLES for key in (h, t)})
    relations = ["borders", "lies_in", "near"]
    ids = [(entities.index(h), relations.index(r), entities.index(t)) for h, r, t in TRIPLES]
    parts = {"train": ids[:45], "valid": ids[45:50], "test": ids[50:]}
    openke.mkdir()
    for name, keys in {"entity": entities, "relation": relations}.items():
        rows = [f"{key}\t{at}" for at, key in enumerate(keys)]
        (openke / f"{name}2id.txt").write_text("\n".join([str(len(rows)), *rows]) + "\n")
    for name, part in parts.items():
        rows = [f"{h} {t} {r}" for h, r, t in part]
        (openke / f"{name}2id.txt").write_text("\n".join([str(len(rows)), *rows]) + "\n")
    for name, part in {"training": "train", "validation": "valid", "testing": "test"}.items():
        (pykeen / name).mkdir(parents=True)
        rows = ["head\trelation\ttail", *("\t".join(map(str, row)) for row in parts[part])]
        (pykeen / name / "numeric_triples.tsv.gz").write_bytes(gzip.compress("\n".join(rows).encode() + b"\n"))
        for kind, keys in {"entity": entities, "relation": relations}.items():
            rows = ["id\tlabel", *(f"{at}\t{key}" for at, key in enumerate(keys))]
            (pykeen / name / f"{kind}_to_id.tsv.gz").write_bytes(gzip.compress("\n".join(rows).encode() + b"\n"))
    for source in (openke, pykeen):
        call(source, "--to", f"{source.name}-out")
        raw = read(tmp_path / f"{source.name}-out")
        assert facts(tmp_path / f"{source.name}-out") == {(h, r.replace("_", " "), t) for h, r, t in TRIPLES}
        assert names(raw, raw.test.triples) == {(h, r.replace("_", " "), t) for h, r, t in TRIPLES[50:]}


def test_folders_of_pictures_relate_each_to_its_folder(tmp_path):
    for group in ("owls", "cats"):
        for inner in ("old", "new"):
            (tmp_path / "pets" / group / inner).mkdir(parents=True)
            for at in range(3):
                Image.new("RGB", (8, 8)).save(tmp_path / "pets" / group / inner / f"{group}_{inner}{at}.png")
    call("pets", "--to", "out")
    assert ("owls old0", "is in", "owl") in facts(tmp_path / "out")
    assert all(read(tmp_path / "out").contents["visual"][at] for at in range(1))


def test_what_cannot_be_used_is_refused_in_a_sentence_and_nothing_is_written(films, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    assert "this folder is not empty" in refused(films, "--to", "full")
    assert "did you mean 'Director'?" in refused(films, "--columns", "relation=Directr")
    assert "did you mean 'relation'?" in refused(films, "--columns", "relatio=Director")
    assert "write ROLE=COLUMN" in refused(films, "--columns", "Director")
    assert "there is no such file or folder" in refused("nowhere.csv")
    (tmp_path / "odd.bin").write_bytes(b"\0")
    assert "this file is not understood" in refused("odd.bin")
    (tmp_path / "all.csv").write_text("name,isbn\na,1-2\nb,3-4\n")
    assert "no column relates the rows" in refused("all.csv")
    (tmp_path / "short.txt").write_text("a\tp\tb\nb\tp\tc\nb\tp\n" + "c\tp\ta\n" * 9)
    assert "short.txt, line 3: the row has 2 cells where 3 belong" in refused(
        "short.txt", "--columns", "head=1,relation=2,tail=3"
    )
    (tmp_path / "few.txt").write_text("a\tp\tb\nc\tp\td\n")
    assert "none of 2 facts can be held out" in refused("few.txt", "--columns", "head=1,relation=2,tail=3")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]
    assert not (tmp_path / "films").exists()


def test_on_a_terminal_guesses_are_corrected_until_they_are_right(films, tmp_path, monkeypatch):
    from mmkgc.pipeline.cli import init as module

    monkeypatch.setattr(module, "_is_terminal", lambda: True)
    said = call(films, stdin="ignore=Drector\nignore=Director\n\n")
    assert "did you mean 'Director'?" in said
    assert {relation for _, relation, _ in facts(tmp_path / "films")} == {"Genres"}


def test_time_memory_and_baselines_are_measured_on_the_written_folder(films, tmp_path):
    from mmkgc.pipeline import config
    from mmkgc.pipeline.forecast import forecast

    call(films)
    settings = ["extract.visual=null", "extract.textual=null", "train.model.dimension=8"]
    found = forecast(tmp_path / "films", config.load(str(tmp_path / "films"), settings))
    assert found.seconds["training"] > 0
    assert found.memory > 10**8
    assert set(found.baselines) == {"relation popularity", "nearest text, by its words"}
    assert all(0 < value <= 1 for value in found.baselines.values())


def test_json_of_names_and_descriptions_beside_triples_is_read(tmp_path):
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "facts.tsv").write_text("\n".join(map("\t".join, TRIPLES)) + "\n")
    about = {"c0": {"label": "Norway", "description": "A country."}, "c1": "Sweden"}
    (tmp_path / "g" / "names.json").write_text(json.dumps(about))
    call("g", "--to", "out")
    raw = read(tmp_path / "out")
    assert [raw.entities.names[raw.entities.vocabulary().ids[key]] for key in ("c0", "c1")] == ["Norway", "Sweden"]
    assert raw.contents["textual"][raw.entities.vocabulary().ids["c0"]] == "A country."
