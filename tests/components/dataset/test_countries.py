"""The bundled dataset: facts that agree with each other and with known counts, texts that give no answer away."""

import math
import re
from collections import Counter, defaultdict
from itertools import chain
from pathlib import Path

import pytest

from mmkgc.components.dataset.countries import build
from mmkgc.components.dataset.countries.facts import (
    HERE,
    RELATIONS,
    TABLES,
    Row,
    Triple,
    entity,
    numbers,
    rows,
    triples,
)
from mmkgc.components.dataset.countries.split import LEFT
from mmkgc.components.dataset.readers import read

M49 = {
    "Africa": ["Northern Africa", "Eastern Africa", "Middle Africa", "Southern Africa", "Western Africa"],
    "Americas": ["Caribbean", "Central America", "South America", "Northern America"],
    "Asia": ["Central Asia", "Eastern Asia", "South-eastern Asia", "Southern Asia", "Western Asia"],
    "Europe": ["Eastern Europe", "Northern Europe", "Southern Europe", "Western Europe"],
    "Oceania": ["Australia and New Zealand", "Melanesia", "Micronesia", "Polynesia"],
}
MEMBERS = {
    "african-union": 54,  # and Western Sahara, which is not in the dataset
    "andean-community": 4,
    "apec": 20,  # and Hong Kong
    "arab-league": 22,
    "asean": 10,
    "brics": 10,
    "caricom": 14,  # and Montserrat
    "comesa": 21,
    "commonwealth-of-nations": 56,
    "council-of-europe": 46,
    "east-african-community": 8,
    "economic-cooperation-organization": 10,
    "ecowas": 12,
    "european-union": 27,
    "g20": 19,
    "g7": 7,
    "gulf-cooperation-council": 6,
    "mercosur": 6,
    "nato": 32,
    "oecd": 38,
    "opec": 12,
    "organisation-of-islamic-cooperation": 57,
    "pacific-islands-forum": 14,  # and four members that are not UN members
    "saarc": 8,
    "sadc": 16,
    "schengen": 29,
    "shanghai-cooperation-organisation": 10,
}
NEIGHBOURS = {
    "australia": 0,
    "austria": 8,
    "brazil": 10,
    "china": 14,
    "dr-congo": 9,
    "france": 11,
    "germany": 9,
    "iran": 7,
    "mali": 7,
    "russia": 14,
    "saudi-arabia": 7,
    "serbia": 8,
    "tanzania": 8,
    "turkey": 8,
    "zambia": 8,
}
# Words of names that say nothing by themselves, and adjectives that do not begin as the name does.
EVERYDAY = """
    american and agreement alliance area association black central city coast collective commission community
    convertible cooperation council countries customs democratic development dollar eastern economic equatorial
    european federated five forum free gold group independent integration island islands ivory language latin
    league mark middle monetary nations northern ocean organisation organization pound real republic river saint
    security seven south southern states sterling system trade treaty union united western
"""
ADJECTIVES = {
    "cyprus": "cypriot",
    "denmark": "danish",
    "finland": "finnish",
    "france": "french",
    "germany": "german",
    "greece": "greek",
    "ireland": "irish",
    "myanmar": "burmese",
    "netherlands": "dutch",
    "philippines": "filipino",
    "poland": "polish",
    "spain": "spanish",
    "sweden": "swedish",
    "switzerland": "swiss",
    "thailand": "thai",
    "turkey": "turkish",
    "united-kingdom": "british",
    "united-states": "american",
}

ENTITIES: dict[str, Row] = {entity(type_, row["key"]): row for type_ in TABLES for row in rows(type_)}
COUNTRIES = {row["key"]: row for row in rows("country")}
TRIPLES = triples()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("datasets") / "countries")


@pytest.fixture(scope="module")
def parts(folder: Path) -> dict[str, list[Triple]]:
    return {
        name: [Triple(*line.split("\t")) for line in (folder / f"{name}.tsv").read_text("utf-8").splitlines()[1:]]
        for name in ("train", "valid", "test")
    }


def tails(relation: str) -> dict[str, list[str]]:
    found = defaultdict(list)
    for triple in TRIPLES:
        if triple.relation == relation:
            found[triple.head].append(triple.tail)
    return found


class TestFacts:
    def test_every_un_member_is_there(self):
        status = Counter(row["status"] for row in COUNTRIES.values())
        assert status == {"member": 193, "observer": 2, "neither": 2}

    @pytest.mark.parametrize("type_", TABLES)
    def test_keys_are_unique_sorted_ascii_slugs(self, type_):
        keys = [row["key"] for row in rows(type_)]
        assert keys == sorted(set(keys))
        assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", key) for key in keys)

    @pytest.mark.parametrize("type_", TABLES)
    def test_cells_are_filled_and_clean(self, type_):
        for row in rows(type_):
            assert None not in row, row["key"]
            assert all(cell == cell.strip() for cell in row.values()), row["key"]
            assert row["name"], row["key"]
            assert re.fullmatch(r".{40,}\.", row["description"]), row["key"]

    def test_names_and_descriptions_are_unique(self):
        for column in ("name", "description"):
            assert not [value for value, n in Counter(row[column] for row in ENTITIES.values()).items() if n > 1]

    def test_triples_are_unique_and_between_known_entities_that_all_occur(self):
        assert len(TRIPLES) == len(set(TRIPLES))
        assert {end for triple in TRIPLES for end in (triple.head, triple.tail)} == set(ENTITIES)

    def test_borders_are_symmetric(self):
        assert not [t for t in TRIPLES if t.relation == "borders" and (t.swapped not in TRIPLES or t.head == t.tail)]

    def test_border_counts_are_the_known_ones(self):
        borders = tails("borders")
        assert {key: len(borders[entity("country", key)]) for key in NEIGHBOURS} == NEIGHBOURS

    @pytest.mark.parametrize("relation", ["capital", "currency", "official_language", "subregion"])
    def test_every_country_has(self, relation):
        assert set(tails(relation)) == {entity("country", key) for key in COUNTRIES}

    def test_regions_are_those_of_m49(self):
        named = defaultdict(list)
        for region, [continent] in tails("located_in").items():
            named[ENTITIES[continent]["name"]].append(ENTITIES[region]["name"])
        assert {continent: sorted(regions) for continent, regions in named.items()} == {
            continent: sorted(regions) for continent, regions in M49.items()
        }

    def test_countries_have_one_subregion(self):
        assert all(len(regions) == 1 for regions in tails("subregion").values())

    def test_membership_counts_are_the_known_ones(self):
        counts = {row["key"]: len(row["members"].split("|")) for row in rows("organisation")}
        assert {key: counts[key] for key in MEMBERS} == MEMBERS
        assert min(counts.values()) >= 3


def telling(key: str) -> list[str]:
    """Patterns that give an entity away: its name, the beginnings of its telling words, its adjective."""
    name = ENTITIES[key]["name"]
    words = [word for word in re.findall(r"[^\W\d_]{4,}", name) if word.lower() not in EVERYDAY.split()]
    beginnings = [re.sub("[aeoy]$", "", word) if len(word) > 4 else word for word in words]
    patterns = [rf"\b{re.escape(name)}\b", *(rf"\b{re.escape(start)}" for start in beginnings)]
    adjective = ADJECTIVES.get(key.removeprefix("country/"))
    return [*patterns, rf"\b{adjective}\b"] if adjective else patterns


class TestTexts:
    def test_no_text_gives_a_neighbour_in_the_graph_away(self):
        neighbours = {(t.head, t.tail) for t in TRIPLES} | {(t.tail, t.head) for t in TRIPLES}
        assert not [
            (about, neighbour, pattern)
            for about, neighbour in neighbours
            for pattern in telling(neighbour)
            if re.search(pattern, ENTITIES[about]["description"], re.IGNORECASE)
        ]

    def test_no_text_names_a_country(self):
        named = re.compile("|".join(rf"\b{re.escape(row['name'])}\b" for row in COUNTRIES.values()), re.IGNORECASE)
        assert not [key for key, row in ENTITIES.items() if named.search(row["description"])]

    def test_no_text_of_a_country_names_its_continent(self):
        continent = {region: found for region, [found] in tails("located_in").items()}
        for country, [region] in tails("subregion").items():
            for pattern in telling(continent[region]):
                assert not re.search(pattern, ENTITIES[country]["description"], re.IGNORECASE), country


NUMBERS: dict[str, dict[str, float]] = defaultdict(dict)
for _key, _attribute, _value in numbers():
    NUMBERS[_key.removeprefix("country/")][_attribute] = float(_value)
FAR = {frozenset(pair) for pair in (("brazil", "france"), ("suriname", "france"), ("canada", "denmark"))}  # overseas


def kilometres(one: str, other: str) -> float:
    """Great-circle distance between the middles of two countries."""
    (a, b), (c, d) = ((math.radians(NUMBERS[key][name]) for name in ("latitude", "longitude")) for key in (one, other))
    return 6371 * math.acos(min(1, math.sin(a) * math.sin(c) + math.cos(a) * math.cos(c) * math.cos(b - d)))


class TestNumbers:
    def test_every_country_has_each_number_once(self):
        assert set(NUMBERS) == set(COUNTRIES)
        assert all(set(found) == {"area", "population", "latitude", "longitude"} for found in NUMBERS.values())
        assert len(list(numbers())) == 4 * len(COUNTRIES)

    def test_they_are_within_their_ranges(self):
        for found in NUMBERS.values():
            assert 0.4 <= found["area"] < 1.72e7
            assert 400 <= found["population"] < 1.46e9
            assert -45 < found["latitude"] < 66
            assert -180 < found["longitude"] <= 180

    def test_no_two_countries_have_the_same(self):
        assert len({tuple(sorted(found.items())) for found in NUMBERS.values()}) == len(NUMBERS)
        assert len({(found["latitude"], found["longitude"]) for found in NUMBERS.values()}) == len(NUMBERS)

    def test_sums_are_those_of_the_world(self):
        assert 130e6 < sum(found["area"] for found in NUMBERS.values()) < 150e6  # without Antarctica and Greenland
        assert 8.0e9 < sum(found["population"] for found in NUMBERS.values()) < 8.3e9

    def test_densities_are_possible(self):
        density = {key: found["population"] / found["area"] for key, found in NUMBERS.items()}
        assert {key for key, each in density.items() if each > 2000} == {"bahrain", "monaco", "singapore"}
        assert min(density, key=lambda key: density[key]) == "mongolia"

    def test_largest_and_smallest_are_the_known_ones(self):
        by_area = sorted(NUMBERS, key=lambda key: -NUMBERS[key]["area"])
        by_people = sorted(NUMBERS, key=lambda key: -NUMBERS[key]["population"])
        assert by_area[:5] == ["russia", "canada", "united-states", "china", "brazil"]
        assert by_area[-4:] == ["tuvalu", "nauru", "monaco", "vatican-city"]
        assert by_people[:5] == ["india", "china", "united-states", "indonesia", "pakistan"]
        assert by_people[-3:] == ["nauru", "tuvalu", "vatican-city"]

    def test_neighbours_are_near(self):
        pairs = {frozenset((t.head[8:], t.tail[8:])) for t in TRIPLES if t.relation == "borders"}
        assert {pair for pair in pairs if kilometres(*pair) > 6000} <= FAR

    def test_subregions_lie_together(self):
        for region in {region for [region] in tails("subregion").values()}:
            members = [head[8:] for head, [found] in tails("subregion").items() if found == region]
            assert max(kilometres(one, other) for one in members for other in members) < 8500, region

    def test_only_numbers_are_stated(self):
        assert all(re.fullmatch(r"-?\d+(\.\d)?", value) for _, _, value in numbers())


class TestSplit:
    def test_every_triple_is_in_one_split(self, parts):
        assert sorted(chain.from_iterable(parts.values())) == sorted(TRIPLES)

    def test_shares_are_about_80_10_10(self, parts):
        assert len(parts["train"]) / len(TRIPLES) == pytest.approx(0.8, abs=0.03)
        assert len(parts["test"]) / len(TRIPLES) == pytest.approx(0.1, abs=0.02)
        assert len(parts["valid"]) / len(TRIPLES) == pytest.approx(0.1, abs=0.02)

    def test_train_keeps_facts_about_everything_that_is_asked(self, parts):
        known = Counter(end for t in parts["train"] for end in {t.head, t.tail})
        assert set(known) == set(ENTITIES)
        assert {t.relation for t in parts["train"]} == {relation.key for relation in RELATIONS}
        assert all(min(known[t.head], known[t.tail]) >= LEFT for t in parts["valid"] + parts["test"])

    def test_a_border_and_its_inverse_stay_together(self, parts):
        for part in parts.values():
            assert all(t.swapped in part for t in part if t.relation == "borders")

    def test_all_relations_are_asked_but_capital(self, parts):
        asked = {relation.key for relation in RELATIONS} - {"capital"}
        assert {t.relation for t in parts["test"]} == {t.relation for t in parts["valid"]} == asked


class TestFolder:
    def test_ingest_reads_it(self, folder):
        raw = read(folder)
        assert raw.card.name == "countries"
        assert len(raw.entities) == len(ENTITIES)
        assert len(raw.relations) == len(RELATIONS)
        assert all(raw.contents["textual"])
        assert raw.types is not None
        assert Counter(raw.types) == {type_: len(rows(type_)) for type_ in TABLES}
        counted = {type_ for type_, pairs in zip(raw.types, raw.contents["numeric"], strict=True) if pairs}
        assert counted == {"country"}
        images = list(zip(raw.types, raw.contents["visual"], strict=True))
        assert all((type_ == "country") == bool(paths) for type_, paths in images)
        assert all((folder / path).is_file() for _, paths in images for path in paths)

    def test_building_again_gives_the_same_bytes(self, folder, tmp_path):
        again = build(tmp_path / "again")
        files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert len(files) == len(COUNTRIES) + 7
        assert {p.relative_to(again): p.read_bytes() for p in again.rglob("*") if p.is_file()} == files

    def test_the_card_counts_right(self, parts):
        counts = {name: Counter(triple.relation for triple in part) for name, part in parts.items()}
        lines = [f"| {type_} | {len(rows(type_))} |" for type_ in TABLES]
        lines += [f"| all | {len(ENTITIES)} |"]
        for relation in RELATIONS:
            lines.append(
                f"| {relation.name} | " + " | ".join(str(count[relation.key]) for count in counts.values()) + " |"
            )
        lines.append("| all | " + " | ".join(str(len(part)) for part in parts.values()) + " |")
        card = (HERE / "README.md").read_text("utf-8")
        assert not [line for line in lines if line not in card]
