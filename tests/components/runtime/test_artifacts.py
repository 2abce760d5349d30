"""Pipeline artifacts that stand for what is in the store."""

import json
from pathlib import Path

import pytest
from kfp import dsl

from mmkgc.components.runtime.artifacts import stored_uri, stored_uris
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.storage import Stored

DIGEST = "ab" * 32
STORED = Stored(f"s3://bucket/store/graphs/{DIGEST}", DIGEST)
BELOW_THE_ROOT = "s3://bucket/kfp/countries/run-1/ingest/graph"


@pytest.fixture
def output(tmp_path):
    """An output as the launcher gives it: a URI below the pipeline root, written on a mounted path."""
    artifact = dsl.Dataset(name="graph", uri=BELOW_THE_ROOT)
    artifact.custom_path = str(tmp_path / "outputs" / "graph")
    return artifact


def test_an_output_stays_below_the_pipeline_root_and_holds_where_the_content_is(output):
    STORED.describe(output)
    assert output.uri == BELOW_THE_ROOT
    assert json.loads(Path(output.path).read_text()) == {"stored": STORED.uri, "digest": DIGEST}
    assert stored_uri(output) == STORED.uri


def test_an_input_without_metadata_is_read_from_its_file(output):
    STORED.describe(output)
    output.metadata = {}
    assert stored_uri(output) == STORED.uri


def test_on_this_machine_the_uri_is_the_stores_so_that_later_steps_stay_cached(tmp_path):
    artifact = dsl.Dataset(name="graph", uri=str(tmp_path / "kfp" / "run" / "graph"))
    STORED.describe(artifact)
    assert artifact.uri == STORED.uri == stored_uri(artifact)


def test_optional_inputs_are_left_out(output):
    STORED.describe(output)
    assert stored_uris(visual=None, textual=output) == {"textual": STORED.uri}


@pytest.mark.parametrize("content", [None, "not JSON", "[]", "{}"])
def test_an_artifact_of_another_program_is_refused(output, content):
    if content is not None:
        Path(output.path).parent.mkdir()
        Path(output.path).write_text(content)
    with pytest.raises(UserError, match="artifact graph: this artifact does not say where"):
        stored_uri(output)
