"""Headless Chromium, driven over the WebDriver protocol with nothing but HTTP."""

import base64
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mmkgc.components.propose.propose import ProposeConfig, complete_graph
from mmkgc.feature_store.opening import open_storage
from mmkgc.serving.api.protocol import ModelName
from mmkgc.serving.torchserve.server import free_ports, stop_process

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's own key of an element's id


class Browser:
    """One browser session; elements are found by CSS selector, and waited for."""

    def __init__(self, driver: str) -> None:
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        answer = httpx.post(f"{driver}/session", json={"capabilities": {"alwaysMatch": wanted}}, timeout=60)
        self.session = f"{driver}/session/{answer.raise_for_status().json()['value']['sessionId']}"

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = httpx.request(
            method, f"{self.session}/{path}".rstrip("/"), json=body if method == "POST" else None, timeout=60
        )
        value = answer.json()["value"]
        if answer.status_code >= 400:
            raise RuntimeError(value["message"])
        return value

    def open(self, url: str) -> None:
        self.call("POST", "url", {"url": url})

    def script(self, code: str, *arguments: Any) -> Any:
        return self.call("POST", "execute/sync", {"script": code, "args": arguments})

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 15) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.05)
        raise AssertionError(f"waited in vain for {what}")

    def texts(self, selector: str) -> list[str]:
        code = (
            "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => e.innerText)"
        )
        return self.script(code, selector)

    def element(self, selector: str) -> str:
        body = {"using": "css selector", "value": selector}
        return self.call("POST", "element", body)[ELEMENT]

    def click(self, selector: str) -> None:
        self.call("POST", f"element/{self.element(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        self.call("POST", f"element/{self.element(selector)}/value", {"text": text})

    def press(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("POST", "actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def resize(self, width: int, height: int) -> None:
        """Emulate a screen; a window cannot be made as narrow as a phone."""
        command = {"cmd": "Emulation.setDeviceMetricsOverride"}
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("POST", "goog/cdp/execute", command | {"params": metrics})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("GET", "screenshot")))

    def errors(self) -> list[str]:
        """What the page wrote to the console as an error."""
        return [e["message"] for e in self.call("POST", "se/log", {"type": "browser"}) if e["level"] == "SEVERE"]


@pytest.fixture(scope="session")
def proposals_file(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the step proposes with the random model: about sixty triples."""
    root = tmp_path_factory.mktemp("proposals")
    model, config = ModelName(name="mmkgc", version="test"), ProposeConfig(least=12)
    stored = complete_graph(bundle_folder, model, config, open_storage(str(root / "store")), scratch=root / "scratch")
    return Path(stored.uri)


@pytest.fixture(scope="session")
def chromedriver(wait_for: Callable[[str], None]) -> Iterator[str]:
    program = shutil.which("chromedriver")
    if program is None or shutil.which("chromium") is None:
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    (port,) = free_ports(1)
    process = subprocess.Popen([program, f"--port={port}"], stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    wait_for(f"{url}/status")
    yield url
    stop_process(process)


@pytest.fixture
def browser(chromedriver: str) -> Iterator[Browser]:
    browser = Browser(chromedriver)
    yield browser
    browser.call("DELETE", "")
