"""What ``mmkgc why`` prints."""

import json

import pytest
from click.testing import CliRunner

from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.cli.why import lines, why

FACT = {part: {"key": part, "name": part.title()} for part in ("head", "relation", "tail")}
EXPLAINED = FACT | {
    "direction": "tail",
    "known": False,
    "score": -1.5,
    "probability": 0.25,
    "rank": 5,
    "candidates": 40,
    "first": [{"key": name, "name": name} for name in "abc"],
    "shares": {"structure": 0.75, "visual": 0.25},
    "support": [FACT],
    "rules": [{"facts": [FACT, FACT], "support": 3, "pairs": 4}],
    "without": [{"modalities": ["visual"], "rank": 2, "probability": 0.5, "score": 1.0, "first": []}],
}


def test_an_explanation_says_everything_it_has():
    said = "\n".join(lines(EXPLAINED))
    assert "25.0%, score -1.500, rank 5 of 40 as tail" in said
    assert "before it: a, b, c and 1 more" in said
    assert "in 3 of the 4 other such pairs the relation holds (75%)" in said
    assert "structure 75%, visual 25%" in said
    assert "no images   50.0%  rank    2" in said


def test_a_fusion_without_weights_and_a_pair_without_rules_are_named():
    said = "\n".join(lines(EXPLAINED | {"shares": None, "rules": [], "rank": 1, "probability": None}))
    assert "this fusion does not weigh them" in said
    assert "rules: none" in said
    assert "before it" not in said


def test_a_bundle_is_explained_and_unknown_words_are_refused(bundle_folder):
    result = CliRunner().invoke(why, ["e1", "r1", "--bundle", str(bundle_folder), "--json"])
    assert result.exit_code == 0, result.output
    explained = json.loads(result.stdout)
    assert explained["head"]["name"] == "Entity 1"
    assert explained["rank"] == 1
    with pytest.raises(UserError, match=r"^why: .*no entity 'nobody'"):
        CliRunner().invoke(why, ["nobody", "r1", "--bundle", str(bundle_folder)], catch_exceptions=False)
    with pytest.raises(UserError, match="only entities of the graph"):
        CliRunner().invoke(why, ["@", "r1"], catch_exceptions=False)
