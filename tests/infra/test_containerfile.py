"""The images keep the rules that Kubeflow and a cautious cluster have for them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "infra" / "Containerfile").read_text()
LINES = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", TEXT)).splitlines()
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


def test_the_links_of_the_package_are_copied_with_the_folders_that_they_lead_to():
    copied = {word for text in of("COPY") for word in text.split()[:-1]}
    links = [path for path in (ROOT / "mmkgc").iterdir() if path.is_symlink()]
    assert {"mmkgc", *(link.resolve().name for link in links)} <= copied
    wanted = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in copied if not name.startswith(("-", "/"))} <= set(wanted)


@pytest.mark.parametrize("target", ["steps", "serve"])
def test_there_is_a_target_for_the_steps_and_one_for_serving(target):
    assert f"runtime AS {target}" in of("FROM")


def test_the_base_can_be_named_by_digest():
    assert of("ARG")[0].startswith("BASE=")
    assert {text.split()[0] for text in of("FROM")} == {"${BASE}", "runtime"}
