"""A pod of the stand-in: a process that begins with what the manifests give it, between the launcher's two transfers.

The rules are those of KFP 2.17's launcher: inputs are downloaded whole, outputs must keep a URI below the run's own
place under the pipeline root, and what a container sees of its cluster is in the IR (environment, ConfigMaps, Secrets,
fields of the pod) or nowhere.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOUNT = """import sys
if "kfp.dsl.executor_main" in sys.orig_argv:
    from kfp.dsl.types import artifact_types
    artifact_types._S3_LOCAL_MOUNT_PREFIX = {mount!r}
"""
"""Gives a process its own ``/s3``, which in a pod is an empty volume."""


class PodFailed(Exception):
    """The pod ended badly; the message is what Kubernetes or the launcher says."""


@dataclass
class Cluster:
    """What pods find: ConfigMaps and Secrets by name, the package that the image holds, the object store."""

    folder: Path
    s3: Any
    config_maps: dict[str, dict[str, str]] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    image: dict[str, str] = field(default_factory=dict)  # environment of the image
    make_pod: "Callable[..., Pod] | None" = None  # None: a process


@dataclass
class Pod:
    """One attempt of a task."""

    name: str
    cluster: Cluster
    labels: dict[str, str]
    output_prefix: str
    process: subprocess.Popen | None = None

    @property
    def folder(self) -> Path:
        return self.cluster.folder / "pods" / self.name

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def run(self, container: dict, kubernetes: dict, executor_input: dict, injected: dict[str, str]) -> dict:
        """Run the container and return its executor output. Raises PodFailed."""
        (self.folder / "image").mkdir(parents=True)
        self.log.touch()
        env = self._environment(container, kubernetes) | injected
        executor_input["outputs"]["outputFile"] = str(self.folder / "kfp_outputs" / "output_metadata.json")
        for artifact in _artifacts(executor_input["inputs"]):
            self._download(artifact["uri"])
        self._execute(container, kubernetes, env, executor_input)
        output = json.loads(Path(executor_input["outputs"]["outputFile"]).read_text())
        for artifact in _artifacts(output):
            if not artifact["uri"].startswith(self.output_prefix):
                raise PodFailed(f"failed to upload output artifact {artifact['uri']}: not below {self.output_prefix}")
            self._upload(artifact["uri"])
        return output

    def kill(self, sign: int = signal.SIGTERM) -> None:
        """Send a signal to every process of the pod."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, sign)

    def _execute(self, container: dict, kubernetes: dict, env: dict[str, str], executor_input: dict) -> None:
        command = self._command(container, executor_input)
        work = self.folder / "work"
        work.mkdir()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=work, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            code = self.process.wait()
        if code:
            raise PodFailed(f"main: Error (exit code {code if code > 0 else 128 - code})")

    @staticmethod
    def _command(container: dict, executor_input: dict) -> list[str]:
        command = [*container["command"], *container.get("args", [])]
        return [part.replace("{{$}}", json.dumps(executor_input)) for part in command]

    def _environment(self, container: dict, kubernetes: dict) -> dict[str, str]:
        mounts = {mount["mountPath"]: mount["volumeName"] for mount in kubernetes.get("emptyDirMounts", [])}
        env = self._image_environment()
        env |= {each["name"]: self._mounted(each.get("value", ""), mounts) for each in container.get("env", [])}
        for source in kubernetes.get("configMapAsEnv", []):
            pairs = [(pair["configMapKey"], pair["envVar"]) for pair in source["keyToEnv"]]
            env |= self._from("configmap", self.cluster.config_maps, source["configMapName"], pairs, source)
        for source in kubernetes.get("secretAsEnv", []):
            pairs = [(pair["secretKey"], pair["envVar"]) for pair in source["keyToEnv"]]
            env |= self._from("secret", self.cluster.secrets, source["secretName"], pairs, source)
        annotations = kubernetes.get("podMetadata", {}).get("annotations", {})
        fields = {f"metadata.labels['{key}']": value for key, value in self.labels.items()}
        fields |= {f"metadata.annotations['{key}']": value for key, value in annotations.items()}
        return env | {each["name"]: fields.get(each["fieldPath"], "") for each in kubernetes.get("fieldPathAsEnv", [])}

    def _image_environment(self) -> dict[str, str]:
        """Variables that the image sets; what the process needs to behave like a container is written beside them."""
        image = self.folder / "image"
        (image / "sitecustomize.py").write_text(MOUNT.format(mount=f"{self.folder / 's3'}/"))
        (image / "python3").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (image / "python3").chmod(0o755)
        env = {"HOME": "/", "TMPDIR": str(self.folder / "tmp")} | self.cluster.image
        (self.folder / "tmp").mkdir()
        env["PYTHONPATH"] = f"{image}:{env.get('PYTHONPATH', '')}"
        env["PATH"] = f"{image}:{env.get('PATH', '/usr/bin:/bin')}"
        return env

    def _mounted(self, value: str, mounts: dict[str, str]) -> str:
        """A path below an empty volume. A process has no mounts: variables lead it to a folder of its own instead."""
        for path, volume in mounts.items():
            if value == path or value.startswith(f"{path}/"):
                folder = self.folder / "volumes" / volume
                folder.mkdir(parents=True, exist_ok=True)
                return f"{folder}{value.removeprefix(path)}"
        return value

    @staticmethod
    def _from(kind: str, objects: dict, name: str, pairs: list[tuple[str, str]], source: dict) -> dict[str, str]:
        """Keys of a ConfigMap or Secret. Kubernetes starts no container where one that is not optional is missing."""
        found, optional = objects.get(name), source.get("optional", False)
        if found is None and not optional:
            raise PodFailed(f'CreateContainerConfigError: {kind} "{name}" not found')
        for key, _ in pairs:
            if key not in (found or {}) and not optional:
                raise PodFailed(f"CreateContainerConfigError: couldn't find key {key} in {kind} {name}")
        return {variable: found[key] for key, variable in pairs if found and key in found}

    def _download(self, uri: str) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        listed = self.cluster.s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
        for item in listed:
            target = self.folder / "s3" / bucket / item["Key"]
            target.parent.mkdir(parents=True, exist_ok=True)
            self.cluster.s3.download_file(bucket, item["Key"], str(target))

    def _upload(self, uri: str) -> None:
        """A file, or a folder; the launcher only warns where there is neither."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        source = self.folder / "s3" / bucket / key
        files = [path for path in source.rglob("*") if path.is_file()] if source.is_dir() else [source]
        for path in filter(Path.is_file, files):
            self.cluster.s3.upload_file(str(path), bucket, path.relative_to(self.folder / "s3" / bucket).as_posix())


def _artifacts(part: dict) -> list[dict]:
    return [artifact for listed in part.get("artifacts", {}).values() for artifact in listed["artifacts"]]
