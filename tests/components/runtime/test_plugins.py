"""Names and hyper-parameters of a recipe: what is wrong is refused with the nearest that is right."""

from importlib import import_module
from pathlib import Path

import pytest
from pydantic import ValidationError

from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.listing import listing
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.regularizers import REGULARIZERS
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.plugins import Registry
from mmkgc.components.train.config import TrainConfig


@pytest.mark.parametrize("name", ["mans-v", "MANS-V", "mans_v", "MansV"])
def test_case_and_hyphens_are_free(name: str) -> None:
    assert SAMPLERS.resolve(name)["name"] == "mans-v"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "margni"}, "unknown loss 'margni' — did you mean 'margin'?"),
        ({"model": {"interaction": {"name": "transe", "q": 1}}}, "transe has no hyper-parameter 'q'"),
        ({"model": {"interaction": {"name": "rotate", "inti": 1}}}, "did you mean 'init'?"),
        ({"model": {"interaction": {"name": "transe", "p": 3}}}, "transe.p: Input should be 1 or 2"),
        ({"negatives": {"name": "mans-h", "beta": 1.5}}, "mans-h.beta: Input should be less than or equal to 1"),
        ({"negatives": {"count": 5}}, "name the sampler: one of bernoulli"),
        ({"model": {"fusion": "ikrl", "modalities": ["textual"]}}, "needs visual features"),
        ({"model": {"fusion": "structure"}, "negatives": "mans-v"}, "is the positive"),
    ],
    ids=str,
)
def test_mistakes_are_told(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as told:
        TrainConfig(**settings)  # type: ignore[arg-type]
    assert message in str(told.value)


def test_a_configuration_survives_json_and_fills_in_defaults() -> None:
    config = TrainConfig(negatives={"name": "mat"}, regularizer="n3")  # type: ignore[arg-type]
    assert config.negatives is not None
    assert config.negatives["weight"] == 0.01
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


def test_negatives_are_uniform_where_the_loss_needs_some() -> None:
    assert TrainConfig().negatives == SAMPLERS.resolve("uniform")
    assert TrainConfig(loss="cross-entropy").negatives is None  # type: ignore[arg-type]


def test_dotted_overrides() -> None:
    config = TrainConfig().override({"optimizer.lr": 0.5, "model.interaction": "complex", "negatives.count": 3})
    assert config.optimizer.lr == 0.5
    assert config.model.interaction == INTERACTIONS.resolve("complex")
    assert config.negatives is not None
    assert config.negatives["count"] == 3


def test_the_catalog_lists_every_class_with_a_sentence() -> None:
    listed = listing()
    assert set(listed) == {"interaction", "fusion", "sampler", "entity encoder", "loss", "regularizer"}
    for entries in listed.values():
        assert entries
        assert not [entry.name for entry in entries if len(entry.summary) <= 10], (
            "their docstrings begin with a sentence"
        )
    assert {"mans-v", "mans-t", "mans-h", "mans-a", "mat", "dhns"} <= {entry.name for entry in listed["sampler"]}


@pytest.mark.parametrize("registry", [INTERACTIONS, FUSIONS, SAMPLERS, LOSSES, REGULARIZERS], ids=lambda one: one.kind)
def test_every_class_is_found_by_the_name_that_lists_it(registry: Registry) -> None:
    for name, found in registry.classes().items():
        assert registry.lookup(name) is found


SHAPE = """
from abc import ABC, abstractmethod
from typing import ClassVar
class Shape(ABC):
    corners: ClassVar[int]
    @abstractmethod
    def area(self): ...
"""
CIRCLE = "from {package} import Shape\nclass Circle(Shape):\n    corners = 0\n    def area(self): return 1\n"
LACKING = "'radius' of Circle lacks a type or a default"


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("round_one", CIRCLE, r"round_one\.py: it defines Circle — name the file circle\.py"),
        ("circle", CIRCLE + "class Disc(Circle): ...\n", r"circle\.py: it defines Circle and Disc — make one file of"),
        ("circle", CIRCLE + "    def __init__(self, *, radius: float): ...\n", LACKING),
        ("circle", CIRCLE + "    def __init__(self, *, radius=1): ...\n", LACKING),
        (
            "circle",
            CIRCLE + "class CIRCLE(Shape):\n    corners = 0\n    def area(self): return 1\n",
            "two classes have one name",
        ),
        ("circle", CIRCLE.replace("area", "volume"), r"circle\.py: Circle does not define area — its base class says"),
        ("circle", CIRCLE.replace("    corners = 0\n", ""), r"circle\.py: Circle does not define corners"),
    ],
)
def test_a_class_that_a_recipe_could_not_name_is_told(
    file: str, text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path.name.replace("-", "_")
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(SHAPE)
    (tmp_path / package / f"{file}.py").write_text(text.format(package=package))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises((UserError, ValueError), match=told):
        Registry("shape", import_module(package).Shape, package).resolve("circle")
