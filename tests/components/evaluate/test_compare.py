from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from mmkgc.components.evaluate.compare import Bootstrap, Judged, check_same_queries, deltas, slice_deltas
from mmkgc.components.evaluate.config import EvaluateConfig
from mmkgc.components.evaluate.evaluate import assess
from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.cli.compare import compare

CONFIG = EvaluateConfig(bootstrap=100, missing=())


def no_images(digest: str) -> bytes:
    raise AssertionError(digest)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, toy_mmkg, toy_bundle, train_toy):
    """Evaluations of a good and of a weak model."""
    root = tmp_path_factory.mktemp("evaluations")
    for name, bundle in {"good": toy_bundle, "weak": train_toy(toy_mmkg, epochs=2)}.items():
        assess(toy_mmkg, bundle, CONFIG, root / name, no_images)
    return root


def test_a_run_does_not_differ_from_itself(folders):
    good = Judged.read("good", folders / "good")
    for delta in deltas(good, good, Bootstrap(200)):
        assert delta.after - delta.before == delta.bounds.low == delta.bounds.high == 0
        assert not delta.is_sure


def test_a_better_run_is_better_for_sure_and_the_reverse_is_its_mirror(folders):
    weak, good = (Judged.read(name, folders / name) for name in ("weak", "good"))
    forward, backward = deltas(weak, good, Bootstrap(500)), deltas(good, weak, Bootstrap(500))
    mrr = next(delta for delta in forward if (delta.metric, delta.what) == ("mrr", "both"))
    assert mrr.is_sure
    assert mrr.after > mrr.before
    for there, back in zip(forward, backward, strict=True):
        np.testing.assert_allclose(there.bounds, (-back.bounds.high, -back.bounds.low), atol=1e-12)


def test_pairing_makes_intervals_narrower_than_two_of_their_own(folders):
    good = Judged.read("good", folders / "good")
    nearly = replace(good, ranks=good.ranks + np.where(np.arange(len(good.ranks)) % 7 == 0, 1, 0))
    delta = next(d for d in deltas(good, nearly, Bootstrap(500)) if (d.metric, d.what) == ("mr", "both"))
    assert delta.bounds.high - delta.bounds.low < 0.3
    assert delta.is_sure


def test_slices_weigh_up_to_the_whole(folders):
    weak, good = (Judged.read(name, folders / name) for name in ("weak", "good"))
    whole = next(d for d in deltas(weak, good, Bootstrap(100)) if (d.metric, d.what) == ("mrr", "both"))
    for kind in ("relation", "answer modalities"):
        parts = slice_deltas(weak, good, kind, Bootstrap(100))
        total = sum(part.queries * (part.after - part.before) for part in parts) / whole.queries
        assert total == pytest.approx(whole.after - whole.before)


def test_other_queries_are_refused(folders, toy_mmkg, toy_bundle, tmp_path):
    other = replace(toy_mmkg, graph=replace(toy_mmkg.graph, test=toy_mmkg.graph.test[:50]))
    assess(other, toy_bundle, CONFIG, tmp_path / "other", no_images)
    runs = [Judged.read("good", folders / "good"), Judged.read("other", tmp_path / "other")]
    with pytest.raises(UserError, match=r"other: .* of its 100 queries are not those of good"):
        check_same_queries(runs)


def test_the_command_prints_a_table_and_writes_a_report(folders, tmp_path):
    arguments = [str(folders / "weak"), str(folders / "good"), "--by", "category", "--resamples", "200"]
    result = CliRunner().invoke(compare, [*arguments, "--report", str(tmp_path / "report")], catch_exceptions=False)
    assert result.exit_code == 0
    assert "weak → good" in result.output
    assert "MRR, both" in result.output
    assert "MRR, N-N" in result.output
    assert "Change of MRR" in (tmp_path / "report" / "report.html").read_text()
