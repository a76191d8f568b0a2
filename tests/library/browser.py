"""A headless Chromium, driven over the W3C WebDriver protocol with the few commands that the tests of the page need."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "the page is tested in Chromium: `apt-get install chromium chromium-driver`"
QUIET = ["headless", "disable-gpu", "no-first-run"]
OFFLINE = ["disable-quic", "disable-background-networking", "disable-component-update", "disable-sync"]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # what the protocol calls a reference to an element
TAB, ENTER, DOWN = "\ue004", "\ue007", "\ue015"  # and keys that aren't characters
PATIENCE = 30.0  # seconds for one command


class Browser:
    """One Chromium with an empty profile in `directory`, and its driver. A context manager."""

    def __init__(self, directory: Path, *flags: str) -> None:
        assert CHROMIUM and DRIVER, MISSING
        sandbox = ["no-sandbox"] if os.geteuid() == 0 else []  # as root, Chromium won't start with one
        flags = (*QUIET, *OFFLINE, *sandbox, f"user-data-dir={directory}", *flags)
        options = {"binary": CHROMIUM, "args": [f"--{flag}" for flag in flags]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self._driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._open = build_opener(ProxyHandler({})).open  # never by way of a proxy
        try:
            self._base = f"http://127.0.0.1:{self._port()}/session"
            session = self.do("POST", "", capabilities={"alwaysMatch": wanted})
            self._base += f"/{session['sessionId']}"
        except BaseException:
            self._driver.kill()
            raise

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.do("DELETE", "")
        finally:
            self._driver.kill()
            self._driver.communicate()

    def _port(self) -> int:
        """The driver picks a port, and says which."""
        assert self._driver.stdout
        for line in self._driver.stdout:
            if found := re.search(rb"started successfully on port (\d+)", line):
                return int(found[1])
        raise RuntimeError("chromedriver didn't start")

    def do(self, verb: str, path: str, **body: Any) -> Any:
        """One command. Raises RuntimeError with what the driver says if it fails."""
        data = json.dumps(body).encode() if verb == "POST" else None
        request = Request(self._base + path, data, {"Content-Type": "application/json"}, method=verb)
        try:
            with self._open(request, timeout=PATIENCE) as response:
                return json.load(response)["value"]
        except HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def visit(self, url: str) -> None:
        self.do("POST", "/url", url=url)

    def run(self, script: str, *args: Any) -> Any:
        """The value that the body of a JavaScript function returns, waited for if it is a promise."""
        return self.do("POST", "/execute/sync", script=script, args=args)

    def find(self, selector: str) -> str:
        """The path of the commands on the one element that a CSS selector finds."""
        return "/element/" + self.do("POST", "/element", using="css selector", value=selector)[ELEMENT]

    def click(self, selector: str) -> None:
        self.do("POST", self.find(selector) + "/click")

    def fill(self, selector: str, text: str) -> None:
        """Type into a field, or give the path of a file to a file field."""
        self.do("POST", self.find(selector) + "/value", text=text)

    def press(self, keys: str) -> None:
        """Press keys, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.do("POST", "/actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What was logged since the last time: to the console ("browser"), or by the debugger ("performance")."""
        entries: list[dict[str, Any]] = self.do("POST", "/se/log", type=kind)
        return [json.loads(entry["message"])["message"] for entry in entries] if kind == "performance" else entries

    def emulate(self, width: int, height: int, scheme: str) -> None:
        """A screen of that size, in CSS pixels, with the colour scheme "light" or "dark"."""
        self._debug("setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=width < 600)
        self._debug("setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def _debug(self, command: str, **params: Any) -> None:
        self.do("POST", "/goog/cdp/execute", cmd=f"Emulation.{command}", params=params)
