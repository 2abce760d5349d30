import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from mmkgc.components.evaluate.compare import Bootstrap, Judged, check_same_queries, deltas, slice_deltas
from mmkgc.components.evaluate.config import EvaluateConfig
from mmkgc.components.evaluate.evaluate import assess
from mmkgc.components.evaluate.report import from_json, html, to_json
from mmkgc.components.evaluate.run_report import run_report
from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.cli.compare import compare
from mmkgc.pipeline.cli.run_list import seed_groups, unseeded

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
    assert "verdict: good is better than weak (MRR +" in result.output
    assert result.output.index("verdict") < result.output.index("MRR, both")
    assert "MR ↓, both" in result.output
    assert "parameters: unknown" in result.output
    assert "MRR, N-N" in result.output
    assert "Change of MRR" in (tmp_path / "report" / "report.html").read_text()


def test_a_report_is_read_again_as_it_was_written(folders):
    report = json.loads((folders / "good" / "report.json").read_text())
    blocks = from_json(report["blocks"], folders / "good")
    assert html(report["title"], blocks) == (folders / "good" / "report.html").read_text()
    assert to_json(blocks, folders / "good") == report["blocks"]
    page = html(*run_report(str(folders / "good"), folders))
    for part in ("Model and training", "<td>interaction</td>", "Link prediction", "data:image/png;base64"):
        assert part in page


def test_an_evaluation_of_an_earlier_version_is_refused(folders, tmp_path):
    shutil.copytree(folders / "weak", tmp_path / "weak")
    (tmp_path / "weak" / "report.json").unlink()
    with pytest.raises(UserError, match="an earlier version of mmkgc evaluated it"):
        run_report(str(tmp_path / "weak"), tmp_path)


def test_runs_that_differ_in_their_seed_alone_form_a_group():
    def run(seed, epochs, experiment="1"):
        data = SimpleNamespace(params={"train.seed": seed, "train.epochs": epochs})
        return SimpleNamespace(data=data, info=SimpleNamespace(experiment_id=experiment))

    newest, older = run("0", "5"), run("0", "5")
    other = run("1", "5")
    groups = seed_groups([newest, run("0", "9"), other, older, run("2", "5", "another")])
    assert groups == [[newest, other]]


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (["seed=1", "rotate, adamf, bernoulli"], "rotate, adamf, bernoulli"),
        (["epochs=15, seed=1", "epochs=15, seed=2"], "epochs=15"),
        (["seed=1", "seed=2"], "countries"),
    ],
)
def test_a_group_of_seeds_is_not_named_after_one_of_them(names, common):
    data = SimpleNamespace(tags={"mmkgc.dataset": "countries"})
    assert unseeded([SimpleNamespace(data=data, info=SimpleNamespace(run_name=name)) for name in names]) == common
