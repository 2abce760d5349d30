"""The flag language: what the bundled flags look like, and what a wrong description is told."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmkgc.components.dataset.countries import draw
from mmkgc.components.dataset.countries.build import FLAGS
from mmkgc.components.dataset.countries.facts import rows
from mmkgc.components.runtime.errors import UserError

ALL = draw.read(FLAGS)


def painted(text: str, tmp_path: Path) -> Image.Image:
    path = tmp_path / "flags.txt"
    path.write_text(text, encoding="utf-8")
    return list(draw.read(path).values())[-1].paint(600, 400)


def colour(image: Image.Image, x: float, y: float) -> str:
    pixel = image.getpixel((x * image.width, y * image.height))
    return "#{:02x}{:02x}{:02x}".format(*pixel)


class TestBundledFlags:
    def test_every_country_has_one(self):
        assert set(ALL) == {row["key"] for row in rows("country")}

    @pytest.mark.parametrize("key", ALL)
    def test_it_is_drawn_in_its_proportions_and_not_blank(self, key, tmp_path):
        draw.write(ALL[key], tmp_path / "flag.png")
        with Image.open(tmp_path / "flag.png") as image:
            assert image.size == (draw.WIDTH, round(draw.WIDTH * ALL[key].ratio))
            assert np.asarray(image).std(axis=(0, 1)).max() > 20

    def test_no_two_are_the_same(self):
        small = {key: np.asarray(flag.paint(48, 32), float) for key, flag in ALL.items()}
        pairs = combinations(sorted(small), 2)
        alike = {(a, b) for a, b in pairs if np.abs(small[a] - small[b]).mean() < 4.5}  # of 255
        assert not alike

    @pytest.mark.parametrize(
        ("key", "colours"),
        [
            ("france", {(0.1, 0.5): "#002654", (0.5, 0.5): "#ffffff", (0.9, 0.5): "#ed2939"}),
            ("germany", {(0.5, 0.1): "#000000", (0.5, 0.5): "#dd0000", (0.5, 0.9): "#ffcc00"}),
            ("japan", {(0.5, 0.5): "#bc002d", (0.5, 0.85): "#ffffff", (0.2, 0.5): "#ffffff"}),
            ("sweden", {(0.375, 0.1): "#fecc02", (0.9, 0.5): "#fecc02", (0.5, 0.1): "#006aa7"}),
            ("turkey", {(0.2, 0.5): "#ffffff", (0.37, 0.5): "#e30a17", (0.47, 0.5): "#ffffff"}),
            ("australia", {(0.25, 0.25): "#c8102e", (0.25, 0.75): "#ffffff", (0.5, 0.9): "#012169"}),
        ],
    )
    def test_some_colours_where_everyone_knows_them(self, key, colours):
        image = ALL[key].paint(600, 400)
        assert {at: colour(image, *at) for at in colours} == colours


class TestShapes:
    @pytest.mark.parametrize(
        ("layer", "inside", "outside"),
        [
            ("field black", (0.9, 0.9), None),
            ("horizontal white black*2", (0.5, 0.4), (0.5, 0.3)),
            ("vertical white black*2", (0.4, 0.5), (0.3, 0.5)),
            ("rect black 0 0 1/4 1/2", (0.2, 0.4), (0.3, 0.4)),
            ("polygon black 0 0 1 0 1 1", (0.9, 0.5), (0.1, 0.5)),
            ("triangle black 1/2", (0.4, 0.5), (0.4, 0.1)),
            ("line black .1 0 0 1 1", (0.7, 0.7), (0.7, 0.5)),
            ("cross black .2 .25", (0.25, 0.05), (0.5, 0.05)),
            ("saltire black .2", (0.75, 0.25), (0.5, 0.25)),
            ("disc black .5 .5 .25", (0.65, 0.5), (0.7, 0.5)),
            ("oval black .5 .5 .25 .1", (0.65, 0.5), (0.5, 0.65)),
            ("ring black .5 .5 .25 .05", (0.65, 0.5), (0.5, 0.5)),
            ("crescent black .5 .5 .4", (0.25, 0.5), (0.6, 0.5)),
            ("crescent black .5 .5 .4 .8 .25 90", (0.5, 0.12), (0.5, 0.6)),
            ("star black .5 .5 .4", (0.5, 0.12), (0.5, 0.88)),
            ("star black .5 .5 .4 5 .382 180", (0.5, 0.88), (0.5, 0.12)),
            ("stars black .1 .2 .2 .8 .8", (0.8, 0.8), (0.5, 0.5)),
            ("grid black .05 3 2 .2 .2 .3 .5", (0.8, 0.7), (0.65, 0.7)),
            ("circle black .1 4 .5 .5 .3", (0.7, 0.5), (0.5, 0.5)),
        ],
    )
    def test_it_is_painted_where_it_should(self, layer, inside, outside, tmp_path):
        image = painted(f"somewhere 2:3 {layer}", tmp_path)
        assert colour(image, *inside) == "#000000"
        assert outside is None or colour(image, *outside) == "#ffffff"

    def test_every_shape_is_tested_above(self):
        [mark] = TestShapes.test_it_is_painted_where_it_should.pytestmark
        assert {layer.split()[0] for layer, _, _ in mark.args[1]} == set(draw.SHAPES)

    def test_an_inset_shows_another_flag(self, tmp_path):
        image = painted("a 1:1 vertical black red\n\nb 2:3 field gold\n    inset a 0 0 1/2 1/2", tmp_path)
        assert [colour(image, *at) for at in ((0.1, 0.1), (0.4, 0.4), (0.6, 0.6))] == ["#000000", "#ce1126", "#fcd116"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "line", "says"),
        [
            ("    field red", 1, "an indented line continues the flag above it"),
            ("norway field red", 1, "'norway field red' does not begin a flag"),
            ("norway 0:3 field red", 1, "does not begin a flag"),
            ("a 2:3 field red\n# twice\na 2:3 field white", 3, "the flag 'a' is described a second time"),
            ("a 2:3\n    fild red", 2, "did you mean 'field'?"),
            ("a 2:3 field rde", 1, "unknown colour 'rde', did you mean 'red'?"),
            ("a 2:3 field #12345", 1, "unknown colour '#12345'"),
            ("a 2:3 disc red .5 .5", 1, "write it as: disc colour x y radius"),
            ("a 2:3 disc red .5 .5 .1 .1", 1, "write it as: disc colour x y radius"),
            ("a 2:3 cross red", 1, "write it as: cross colour thickness [x] [y]"),
            ("a 2:3 disc red .5 .5 big", 1, "'disc red .5 .5 big' cannot be drawn"),
            ("a 2:3 disc red .5 .5 1/0", 1, "cannot be drawn"),
            ("a 2:3 disc red .5 .5 nan", 1, "cannot be drawn"),
            ("a 2:3 disc red .5 .5 -1", 1, "cannot be drawn"),
            ("a 2:3 polygon red 0 0 1 0 1", 1, "write it as: polygon colour xy …"),
            ("a 2:3 horizontal", 1, "cannot be drawn"),
            ("a 2:3 horizontal red*two", 1, "cannot be drawn"),
            ("a 2:3 inset b 0 0 1 1\nb 2:3 field red", 1, "no flag 'b' is described above it"),
            ("a 2:3 inset a 0 0 1 1", 1, "cannot be drawn"),
        ],
    )
    def test_a_wrong_description_is_refused_with_its_line(self, text, line, says, tmp_path):
        with pytest.raises(UserError) as refused:
            painted(text, tmp_path)
        assert f"flags.txt, line {line}: " in str(refused.value)
        assert says in str(refused.value)
