"""Which model was promoted last, whatever else was done to the others since."""

import pytest

from mmkgc.components.runtime import model_registry as registry
from mmkgc.components.runtime import tracking
from mmkgc.components.runtime.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture
def versions(tmp_path, monkeypatch):
    """Versions of models ``a`` and ``b`` in a registry of their own."""
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "o'hara's home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    api = tracking.client()

    def add(name):
        registry.ensure_model(name)
        return str(api.create_model_version(name, source=str(tmp_path)).version)

    return add


def test_the_model_promoted_last_is_first_though_others_were_touched_later(versions):
    for name in ("a", "b"):
        assert registry.move_alias(name, "champion", versions(name), None, {})
    versions("a")  # registered after b's promotion, not promoted
    registry.tag("a", "1", {"note": "touched"})
    tracking.client().set_registered_model_tag("a", "note", "touched")
    assert registry.with_alias("champion") == ["b", "a"]
    assert registry.move_alias("a", "champion", "2", "1", {})
    assert registry.with_alias("champion") == ["a", "b"]
    assert registry.with_alias("nobody") == []


def test_the_embedded_registry_is_read_as_mlflow_reads_it(versions, monkeypatch):
    for name in ("a", "b"):
        registry.move_alias(name, "champion", versions(name), None, {"note": "it's a tag"})
    tracking.client().set_registered_model_alias("a", "candidate", versions("a"))  # by hand: without promoted_at
    asked = [("a", "champion"), ("b", "champion"), ("a", "candidate"), ("b", "candidate"), ("c", "champion")]
    aliases = ("champion", "candidate", "nobody")

    def read():
        return [registry.version_at(*one) for one in asked], [registry._promoted(alias) for alias in aliases]

    embedded = read()
    monkeypatch.setattr(registry, "_embedded", lambda: None)
    assert embedded == read()


def test_a_file_that_is_no_registry_is_left_to_mlflow(versions, monkeypatch, tmp_path):
    registry.move_alias("a", "champion", versions("a"), None, {})
    (tmp_path / "other.db").write_bytes(b"")
    monkeypatch.setattr(registry, "_embedded", lambda: tmp_path / "other.db")
    assert registry.with_alias("champion") == ["a"]
    assert registry.version_at("a", "champion").version == "1"


def test_models_on_further_pages_are_found(versions, monkeypatch):
    api = tracking.client()
    for index in range(3):
        registry.move_alias(f"m{index}", "champion", versions(f"m{index}"), None, {})
    monkeypatch.setattr(registry, "_embedded", lambda: None)  # as with a server
    search = api.search_registered_models
    monkeypatch.setattr(
        type(api), "search_registered_models", lambda self, page_token: search(max_results=1, page_token=page_token)
    )
    assert registry.with_alias("champion") == ["m2", "m1", "m0"]


def test_a_version_that_is_none_is_answered_with_those_that_are(versions):
    versions("a")
    for number in ("abc", "1.5", "-1", "²", "9" * 30, "", "7"):
        with pytest.raises(UserError, match=r"not in the registry — there are: 1$"):
            registry.version("a", number)
