"""A headless Chromium, driven by WebDriver: a few requests of HTTP, and pointer events that are those of a mouse."""

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_AXE = """
const [done] = arguments;
for (const one of document.querySelectorAll("details")) one.open = true;
const said = ({ id, nodes }) => [id, ...nodes.slice(0, 3).map(({ html }) => html.slice(0, 200))].join(" | ");
axe.run(document).then(({ violations }) => done(JSON.stringify(violations.map(said))), (error) => done(`["${error}"]`));
"""
AXE = Path(__file__).parents[1] / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
"""It comes by npm."""
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One window."""

    def __init__(self, address: str, session: str) -> None:
        self._base = f"{address}/session/{session}"

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        return request(f"{self._base}/{path}".rstrip("/"), body, method)

    def open(self, path: Path) -> None:
        self.ask("url", {"url": path.as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the script returns."""
        return self.ask("execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, seconds: float = 30) -> Any:
        """Until the script returns what is not falsy."""
        end = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < end, f"{script}: nothing in {seconds} s"
            time.sleep(0.05)
        return found

    def find(self, selector: str) -> dict[str, str]:
        found: dict[str, str] = self.ask("element", {"using": "css selector", "value": selector})
        return found

    def click(self, selector: str) -> None:
        self.ask(f"element/{self.find(selector)[ELEMENT]}/click", {})

    def drag(self, selector: str, points: Sequence[tuple[int, int]]) -> None:
        """Press the mouse at the first point, counted from the middle of the element, and draw to the others."""
        origin = self.find(selector)

        def move(point: tuple[int, int]) -> dict[str, Any]:
            return {"type": "pointerMove", "duration": 20, "x": point[0], "y": point[1], "origin": origin}

        steps = [move(points[0]), {"type": "pointerDown", "button": 0}, *map(move, points[1:])]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}}
        self.ask("actions", {"actions": [{**mouse, "actions": [*steps, {"type": "pointerUp", "button": 0}]}]})

    def show(self, width: int, *, height: int = 1000, scheme: str = "light") -> None:
        """Pages are as wide as `width`, for readers who prefer the light or the dark scheme; no bar scrolls them."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.tell("Emulation.setDeviceMetricsOverride", metrics)
        self.tell("Emulation.setScrollbarsHidden", {"hidden": True})
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.tell("Emulation.setEmulatedMedia", media)

    def tell(self, command: str, parameters: dict[str, Any]) -> Any:
        """A command of the DevTools protocol."""
        return self.ask("goog/cdp/execute", {"cmd": command, "params": parameters})

    def next_frame(self) -> None:
        """Wait until what was left to the next frame has been done."""
        script = "requestAnimationFrame(() => setTimeout(arguments[0]))"
        self.ask("execute/async", {"script": script, "args": []})

    def press(self, key: str) -> None:
        """A key, on whatever has the focus."""
        strokes = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.ask("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def inaccessible(self) -> list[str]:
        """What axe-core finds wrong with the page, which is loaded again and allows all scripts: rules and places.

        Skips the test where axe-core is not there (`make axe`).
        """
        if not AXE.exists():
            pytest.skip("needs axe-core: make axe")
        self.tell("Page.setBypassCSP", {"enabled": True})
        self.ask("refresh", {})
        self.run(AXE.read_text("utf-8") + "; window.axe = axe")
        found: list[str] = json.loads(self.ask("execute/async", {"script": _AXE, "args": []}))
        self.tell("Page.setBypassCSP", {"enabled": False})
        # Of axe, which loads stylesheets again and sends messages to frames, and may do neither on a page of file:.
        self.complaints()
        return found

    def screenshot(self) -> bytes:
        return base64.b64decode(self.ask("screenshot"))

    def complaints(self) -> list[str]:
        """What the console says is wrong."""
        entries = self.ask("se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]


def request(address: str, body: Any = None, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error


@contextmanager
def chromium() -> Iterator[Browser]:
    """Skips the test where there is none (Debian: chromium, chromium-driver)."""
    driver, browser = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or browser is None:
        pytest.skip("needs chromium and chromedriver")
    process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        port = next(found[1] for line in lines if (found := re.search(r"successfully on port (\d+)", line)))
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,1000"]
        options = {"binary": browser, "args": arguments}
        always = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = request(f"http://127.0.0.1:{port}/session", {"capabilities": {"alwaysMatch": always}})
        window = Browser(f"http://127.0.0.1:{port}", session["sessionId"])
        try:
            yield window
        finally:
            window.ask("", method="DELETE")
    finally:
        process.terminate()
        process.wait(20)
