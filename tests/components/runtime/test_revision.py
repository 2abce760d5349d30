"""The commit of the code, in a checkout, in an image, and where the package lies below another repository."""

import subprocess

import pytest

from mmkgc.components.runtime import revision


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A repository of somebody else, in which the package is installed but not tracked."""
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-mx"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    file = tmp_path / "site-packages" / "revision.py"
    file.parent.mkdir()
    file.touch()
    monkeypatch.delenv("MMKGC_GIT_SHA", raising=False)
    monkeypatch.setattr(revision, "__file__", str(file))
    return file


def test_the_repository_around_an_installed_package_is_not_its_own(installed):
    assert revision.revision() == "unknown"


def test_a_checkout_has_its_commit_and_an_image_the_one_it_was_made_from(installed, monkeypatch):
    subprocess.run(["git", "add", installed.name], cwd=installed.parent, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=installed.parent, capture_output=True, text=True, check=True
    )
    assert revision.revision() == head.stdout.strip()
    monkeypatch.setenv("MMKGC_GIT_SHA", "c0ffee")
    assert revision.revision() == "c0ffee"
