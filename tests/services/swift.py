"""A real S3 server for tests: one-node OpenStack Swift with its s3api, each part a process of its own."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SWIFT = Path(__file__).parents[2] / ".services" / "swift" / "bin"
ACCESS_KEY, SECRET_KEY = "test:tester", "testing"
RINGS = ("account", "container", "object")

COMMON = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
workers = 0
user = {user}
"""
BACKEND = """
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
PLAIN_FILTERS = ("catch_errors", "healthcheck", "copy", "slo", "dlo")
PROXY = """
[pipeline:main]
pipeline = catch_errors healthcheck cache s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
conn_timeout = 10
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
"""
PROXY += "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in PLAIN_FILTERS)


@contextmanager
def swift(folder: Path) -> Iterator[str]:
    """Start Swift below ``folder`` and yield its S3 endpoint; its processes end with the block."""
    ports = _free_ports(len(RINGS) + 1)
    (folder / "devices" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = test\nswift_hash_path_prefix = test\n")
    for name, port in zip(RINGS, ports, strict=False):
        _write_conf(folder, name, port, BACKEND.format(name=name))
        _build_ring(folder, name, port)
    _write_conf(folder, "proxy", ports[-1], PROXY)
    servers = [_start(folder, name) for name in (*RINGS, "proxy")]
    try:
        for port in ports:  # the proxy answers 503 while one of the others does not listen
            _await_port(port, servers)
        yield f"http://127.0.0.1:{ports[-1]}"
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(20)


def _write_conf(folder: Path, name: str, port: int, text: str) -> None:
    common = COMMON.format(port=port, folder=folder, user=os.environ.get("USER") or _user())
    (folder / f"{name}.conf").write_text(common + text)


def _user() -> str:
    return subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()


def _build_ring(folder: Path, name: str, port: int) -> None:
    builder = str(folder / f"{name}.builder")
    for command in (["create", "4", "1", "0"], ["add", f"r1z1-127.0.0.1:{port}/disk", "1"], ["rebalance"]):
        subprocess.run([SWIFT / "swift-ring-builder", builder, *command], check=True, capture_output=True)


def _start(folder: Path, name: str) -> subprocess.Popen:
    log = (folder / f"{name}.log").open("wb")
    return subprocess.Popen(
        [SWIFT / f"swift-{name}-server", folder / f"{name}.conf", "--verbose"], stdout=log, stderr=log
    )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _await_port(port: int, servers: list[subprocess.Popen], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if any(server.poll() is not None for server in servers):
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("Swift did not start; see its logs")
