"""The manifests as ``kubectl kustomize`` makes them of the overlays."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

KUBERNETES = Path(__file__).parents[2] / "infra" / "kubernetes"


def render(folder: Path) -> list[dict[str, Any]]:
    """The objects of a kustomization."""
    made = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return list(yaml.safe_load_all(made.stdout))


class Manifests:
    """The objects of one overlay, by kind and name."""

    def __init__(self, objects: list[dict[str, Any]]) -> None:
        self.objects = objects

    def of(self, *kinds: str) -> dict[str, dict[str, Any]]:
        """Objects of these kinds by name."""
        return {each["metadata"]["name"]: each for each in self.objects if each["kind"] in kinds}

    def pods(self) -> dict[str, dict[str, Any]]:
        """Pod templates (``metadata`` and ``spec``) by the name of their Deployment or StatefulSet."""
        return {name: each["spec"]["template"] for name, each in self.of("Deployment", "StatefulSet").items()}

    def containers(self) -> list[tuple[str, dict[str, Any]]]:
        """Every container, with the name of its pod."""
        return [
            (name, container)
            for name, pod in self.pods().items()
            for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        ]


@pytest.fixture(scope="session")
def overlay():
    """Render an overlay by its name, such as ``prod/services``, once."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    made: dict[str, Manifests] = {}

    def rendered(name: str) -> Manifests:
        if name not in made:
            made[name] = Manifests(render(KUBERNETES / "overlays" / name))
        return made[name]

    return rendered
