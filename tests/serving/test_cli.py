"""``mmkgc complete`` and ``mmkgc serve``, as a user types them."""

import json
import shlex

import pytest
from click.testing import CliRunner

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import write_json
from mmkgc.pipeline.cli.champion import Chosen, choose
from mmkgc.pipeline.cli.complete import complete
from mmkgc.pipeline.cli.serve import Deployment, invitation
from mmkgc.serving.api.client import Client, ClientError


@pytest.fixture
def run(bundle_folder):
    def ran(*words: str):
        return CliRunner().invoke(complete, [*words, "--bundle", str(bundle_folder)])

    return ran


def test_the_table_ranks_names_with_probabilities_and_marks(run, engine):
    (answer,) = engine.answer([{"head": "e1", "relation": "r0", "k": 40, "exclude_known": False}])
    title, *lines, meaning = run("entity 1", "relation 0", "-k", "40").output.splitlines()
    assert title == "Entity 1  Relation 0  ?"
    assert "in 10" in meaning or "in 100" in meaning
    assert len(lines) == len(answer["predictions"])
    for line, prediction in zip(lines, answer["predictions"], strict=True):
        assert f"  {prediction['name']} " in line
        chance = "known" if prediction["known"] else f"{prediction['probability']:.1%}"
        assert line.split("  score")[0].split()[-1] == chance


@pytest.mark.parametrize(
    ("words", "title"),
    [
        (("-", "r1", "e5"), "?  Relation 1  Entity 5"),
        (("e1", "-", "e5"), "Entity 1  ?  Entity 5"),
        (("e1", "r1", "e5"), "Entity 1  Relation 1  Entity 5"),
    ],
)
def test_a_dash_stands_for_what_is_asked(run, words, title):
    assert run(*words).output.splitlines()[0] == title


def test_explanations_and_json(run, engine):
    assert run("e1", "r1", "--explain", "-k", "1").output.count("like: ") == 3
    answer = json.loads(run("e1", "r1", "--json", "-k", "3", "--new").output)
    assert answer == engine.answer([{"head": "e1", "relation": "r1", "k": 3}])[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nobody", "r1"), "there is no entity 'nobody' — did you mean: "),
        (("twin", "r1"), r"ambiguous; give one of the 2 keys — did you mean: Twin \(e7\), Twin \(e8\)"),
        (("@", "r1"), "write both or neither"),
        (("e1", "r1", "--text", "a town"), "write both or neither"),
        (("e1", "r1", "-k", "0"), "k: "),
        (("e1", "r1", "--url", "http://127.0.0.1:9"), "the gateway needs an API key"),
        (("e1", "r1", "--url", "http://127.0.0.1:9", "--key", "a-key"), "start one with `mmkgc serve`"),
    ],
)
def test_bad_input_is_one_sentence(run, words, message, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.delenv("MMKGC_API_KEY", raising=False)
    with pytest.raises(UserError, match=message):
        raise run(*words).exception


def test_without_a_registry_the_next_step_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path))
    with pytest.raises(UserError, match="run `mmkgc run countries` first, or give --bundle FOLDER"):
        choose(None, "champion", None)


@pytest.mark.parametrize("word", ["o'hara", 'say "hi"', "$(rm -rf x)", "a b", "知", "\\", "-", "-x"])
def test_the_lines_that_serve_prints_are_what_a_shell_reads(tmp_path, monkeypatch, word):
    monkeypatch.setattr("mmkgc.pipeline.cli.serve.getproxies", dict)
    keys = ["-", word] if word == "-" else [word]
    write_json(tmp_path / "vocabulary.json", {kind: {"keys": keys} for kind in ("entities", "relations")})
    told = invitation("http://[::1]:80", "k e'y", Chosen(tmp_path, "mine", "1", None))
    page, curl, shell = told.splitlines()
    assert page == "page   http://[::1]:80/#key=k%20e%27y"
    words = shlex.split(curl)
    assert words[1:4] == ["curl", "-g", "http://[::1]:80/v1/complete"]
    assert words[words.index("-d") + 1 :] == [
        json.dumps({"queries": [{"head": word, "relation": word}]}, ensure_ascii=False)
    ]
    assert "Authorization: Bearer k e'y" in words
    assert shlex.split(shell)[1:] == [
        *("MMKGC_API_KEY=k e'y", "mmkgc", "complete", "--url", "http://[::1]:80"),
        *["--"] * word.startswith("-"),  # what follows is no option
        *(word, word),
    ]


def test_an_unknown_label_names_the_other_models(bundle_folder, monkeypatch):
    chosen = Chosen(bundle_folder, "mine", "1", None)
    monkeypatch.setattr("mmkgc.pipeline.cli.champion.choose", lambda *_: chosen)
    monkeypatch.setattr(
        "mmkgc.components.runtime.model_registry.with_alias", lambda alias: ["mine", "countries", "films"]
    )
    for words, told in (([], True), (["--name", "mine"], False)):
        failure = str(CliRunner().invoke(complete, ["nobody", "r1", *words]).exception)
        assert ("this is the model 'mine'; --name asks another: countries, films" in failure) == told
        assert "did you mean: " in failure


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://x", "http://", ""])
def test_a_url_that_is_none_is_told(url):
    with pytest.raises(ClientError, match="write http://HOST:PORT"):
        Client(url, "a-key")


@pytest.mark.parametrize(
    ("url", "asks"), [("http://127.0.0.1:9", False), ("http://[::1]:9", False), ("http://x.org", True)]
)
def test_a_proxy_is_asked_for_other_machines_only(monkeypatch, url, asks):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Client(url, "a-key") as client:
        assert bool(client._http._mounts) == asks


def test_a_name_that_is_no_folder_is_refused(bundle_folder):
    with pytest.raises(UserError, match="--name: a name is made of"):
        choose("../x", "champion", bundle_folder)


def test_serve_starts_what_it_invites_to(bundle_folder, tmp_path, monkeypatch, serve):
    """The archive is packed, TorchServe started, and the printed curl line works word for word."""
    import subprocess

    from mmkgc.serving.api.gateway.app import create_app
    from mmkgc.serving.api.gateway.upstream import TorchServeModel

    monkeypatch.setenv("MMKGC_HOME", str(tmp_path))
    deployment = Deployment(choose("mine", "champion", bundle_folder), workers=1, alias="champion")
    try:
        server = deployment.start()
        with serve(create_app(TorchServeModel(server.predictions_url, server.token), ["0123456789abcdef"])) as url:
            told = invitation(url, "0123456789abcdef", deployment.chosen)
            (line,) = [line for line in told.splitlines() if line.startswith("curl")]
            answer = subprocess.run(shlex.split(line)[1:], capture_output=True, check=True).stdout
    finally:
        deployment.stop()
    assert json.loads(answer)["model"]["name"] == "mine"
    assert len(json.loads(answer)["answers"][0]["predictions"]) == 10
