"""A pod of the stand-in as a container of podman, under the rules of a cautious cluster and within the IR's limits."""

import os
import subprocess
from pathlib import Path

from typing_extensions import override

from tests.services.kubeflow.pod import Pod, PodFailed

ENGINE = os.environ.get("ENGINE", "podman")
HARDENED = ("--read-only", "--user=12345:0", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=host")


class ContainerPod(Pod):
    """Runs the step in the image that the IR names. Volumes are folders of this machine, ``/tmp`` is in memory."""

    @override
    def kill(self, sign: int = 15) -> None:
        if self.process and self.process.poll() is None:
            subprocess.run([ENGINE, "kill", f"--signal={sign}", self.name], capture_output=True, check=False)

    @override
    def _image_environment(self) -> dict[str, str]:
        return dict(self.cluster.image)

    @override
    def _mounted(self, value: str, mounts: dict[str, str]) -> str:
        return value

    @override
    def _execute(self, container: dict, kubernetes: dict, env: dict[str, str], executor_input: dict) -> None:
        options = [*HARDENED, f"--name={self.name}", *_limits(container.get("resources", {}))]
        options += [f"--env={name}={value}" for name, value in env.items()]
        options += [f"--volume={folder}:{path}" for path, folder in self._volumes(executor_input).items()]
        for mount in kubernetes.get("emptyDirMounts", []):
            if mount["mountPath"] == "/dev/shm":
                options.append(f"--shm-size={_lower(mount['sizeLimit'])}")
            else:
                options.append(f"--tmpfs={mount['mountPath']}:rw,mode=1777")
        command = [ENGINE, "run", *options, container["image"], *self._command(container, executor_input)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder, start_new_session=True
            )
            code = self.process.wait()
        subprocess.run([ENGINE, "rm", "--force", self.name], capture_output=True, check=False)
        if code:
            raise PodFailed(f"main: Error (exit code {code})")

    def _volumes(self, executor_input: dict) -> dict[Path, Path]:
        """Folders by the path at which the container sees them: artifacts, the file of outputs, the workspace."""
        outputs = Path(executor_input["outputs"]["outputFile"]).parent
        folders = {Path("/s3"): self.folder / "s3", outputs: outputs}
        workspaces = self.cluster.folder / "workspaces"
        for given in executor_input["inputs"].get("parameterValues", {}).values():
            if str(given).startswith(f"{workspaces}/"):
                folders[Path(given)] = Path(given)
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
            for each in (folder, *filter(Path.is_dir, folder.rglob("*"))):  # also those of inputs
                each.chmod(0o777)
        return folders


def _limits(resources: dict) -> list[str]:
    """Options for the limits of the IR; swap would make a limit of memory ineffective."""
    memory = _lower(resources["resourceMemoryLimit"])
    return [f"--memory={memory}", f"--memory-swap={memory}", f"--cpus={resources['resourceCpuLimit']}"]


def _lower(quantity: str) -> str:
    """A quantity of Kubernetes, such as 8Gi, as podman writes it."""
    return quantity.removesuffix("i").lower()
