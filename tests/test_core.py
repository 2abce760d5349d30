"""``mmkgc`` without any extra trains, ranks and answers; what needs an extra says which."""

import json
import subprocess
import sys

import pytest

BLOCKED = """
import sys
from importlib.abc import MetaPathFinder
from mmkgc.components.runtime.extras import extra_of

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if extra_of(name):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Blocked())
"""

TRAINED = """
import json, sys
from pathlib import Path
import torch
import mmkgc
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer

torch.manual_seed(0)
keys = tuple(f"e{index}" for index in range(30))
relations = Vocabulary(("next", "previous"), ("next", "previous"))
ring = [(i, 0, (i + 1) % 30) for i in range(30)] + [((i + 1) % 30, 1, i) for i in range(30)]
triples = torch.tensor(ring)[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
graph = Graph(Vocabulary(keys, keys), relations, train=triples[:50], valid=triples[50:55], test=triples[55:])
features = {"textual": Features(torch.randn(30, 6), torch.ones(30, dtype=torch.bool))}
config = TrainConfig(model={"dimension": 16, "modalities": ["textual"]}, epochs=30, optimizer={"lr": 0.05})
model = Trainer(graph, features, config).fit()
folder = Path(sys.argv[1])
Bundle.of(model, graph).save(folder)
engine = mmkgc.load(folder)
metrics = engine.evaluate([(f"e{h}", relations.keys[r], f"e{t}") for h, r, t in graph.train.tolist()])
print(json.dumps({
    "mrr": metrics.loc[("model", "both"), "mrr"],
    "completions": len(engine.complete("e1", "next", k=5)),
    "known": bool(engine.explain("e1", "next", "e2").known),
    "recipes": len(mmkgc.recipes()),
}))
"""

COMMAND = """
from mmkgc.pipeline.cli import main
main()
"""


def python(code, *arguments):
    command = [sys.executable, "-c", BLOCKED + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("core") / "bundle"
    return folder, python(TRAINED, folder)


def test_the_core_alone_trains_ranks_and_answers(trained):
    result = trained[1]
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["mrr"] > 0.3  # of its training triples; chance: 0.13
    assert found["completions"] == 5
    assert found["known"]


def test_the_core_alone_answers_on_the_command_line(trained):
    result = python(COMMAND, "complete", "e1", "next", "--bundle", trained[0])
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("e1  next  ?")


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("run", "countries"), "pipeline"),
        (("complete", "e1", "next", "--url", "http://127.0.0.1:9", "--key", "a-key"), "serve"),
        (("ui",), "pipeline"),
        (("compile", "countries"), "pipeline"),
    ],
)
def test_a_command_that_needs_an_extra_says_which_in_one_sentence(words, extra, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = python(COMMAND, *words)
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1
    assert f"pip install 'mmkgc[{extra}]'" in result.stderr
    assert not list(tmp_path.iterdir())


def test_beside_a_clone_the_package_is_imported_and_not_the_clones_folder(tmp_path):
    (tmp_path / "mmkgc").mkdir()
    command = [sys.executable, "-c", "import mmkgc; print(mmkgc.__file__)"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("__init__.py")
