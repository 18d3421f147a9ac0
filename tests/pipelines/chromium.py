"""Debian's Chromium, headless: what a page says, how wide it is, what it looks like.

A browser is driven by the DevTools protocol over a pair of pipes, in real time: however busy the machine is, the page
has loaded when its load event has come, and a script has ended when its answer has.
"""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--remote-debugging-pipe")  # fmt: skip
PATIENCE_S = 240.0  # for one answer, by the clock
# in a page: what is wider than the window, but for what lies in an element that scrolls by itself
WIDE = """
  (() => { const width = document.documentElement.clientWidth, found = [];
    for (const one of document.querySelectorAll('body *')) {
      const box = one.getBoundingClientRect();
      if (box.width && (box.right > width + .5 || box.left < -.5) && !one.parentElement.closest('.scroll'))
        found.push(`${one.tagName}.${one.className}: ${box.left} to ${box.right}`);
    }
    return found; })()
"""


def program() -> str:
    """Its path; skips the test where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs Chromium to look at the page: apt-get install chromium")
    return found


class Tab:
    """One page of a running browser. `call` asks the page and waits; `events` holds what it said meanwhile."""

    def __init__(self, to_browser: int, from_browser: int, log: Path) -> None:
        self._to, self._from, self._log = to_browser, from_browser, log
        self._read, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command. RuntimeError where the browser refuses it, TimeoutError where none comes."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        answer = self._until(lambda one: one.get("id") == self._number, method)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def wait_for(self, event: str) -> None:
        """Until the page has said it, now or before."""
        if not any(one["method"] == event for one in self.events):
            self._until(lambda one: one.get("method") == event, event)

    def _until(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while True:
            while b"\0" in self._read:
                line, _, self._read = self._read.partition(b"\0")
                message = json.loads(line)
                if "method" in message:
                    self.events.append(message)
                if wanted(message):
                    return message
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self._from, 1 << 20) if ready else b""
            if not data:
                why = "the browser has ended" if ready else f"no answer in {PATIENCE_S:g} s"
                raise TimeoutError(f"{what}: {why}; it said: {self._log.read_text(errors='replace')[-2000:]}")
            self._read += data

    def show(self, page: Path, width: int, height: int, scheme: str = "light") -> None:
        """Load a file in a window of width x height pixels, in the colours "light" or "dark"."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        failed = self.call("Page.navigate", url=page.resolve().as_uri()).get("errorText")
        if failed:
            raise RuntimeError(f"{page}: {failed}")
        self.wait_for("Page.loadEventFired")

    def console(self) -> list[str]:
        """What stands in the console: messages of the page and of the browser, errors that nobody caught."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(one["params"]) for one in self.events if one["method"] in kinds]


@contextmanager
def browser(folder: Path) -> Iterator[Tab]:
    """A browser of its own with an empty page; `folder` gets its profile and what it writes to stderr."""
    path, log = program(), folder / "chromium.log"
    profile = folder / f"profile-{time.monotonic_ns()}"
    (its_in, to_browser), (from_browser, its_out) = os.pipe(), os.pipe()
    # above 9, so that neither is in the way when they become the browser's 3 and 4
    its_in, its_out = (_moved(end) for end in (its_in, its_out))
    actions = [
        (os.POSIX_SPAWN_DUP2, its_in, 3), (os.POSIX_SPAWN_DUP2, its_out, 4),
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2),
    ]  # fmt: skip
    words = [path, *QUIET, f"--user-data-dir={profile}", "about:blank"]
    process = os.posix_spawn(path, words, os.environ, file_actions=actions, setpgroup=0)
    os.close(its_in), os.close(its_out)
    try:
        yield Tab(to_browser, from_browser, log)
    finally:
        os.close(to_browser), os.close(from_browser)
        os.killpg(process, signal.SIGKILL)  # the group that it leads: its renderers too
        os.waitpid(process, 0)
        shutil.rmtree(profile, ignore_errors=True)


def _moved(end: int) -> int:
    moved = fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(end)
    return moved


def ask(page: Path, tmp_path: Path, width: int, script: str) -> tuple[Any, list[str]]:
    """What `script`, the body of an async function, returns in the page, `width` pixels wide; and the console's lines.

    A script that throws gives {"error": what}.
    """
    with browser(tmp_path) as tab:
        tab.show(page, width, 900)
        done = tab.call("Runtime.evaluate", expression=f"(async () => {{ {script} }})()", awaitPromise=True,
                        returnByValue=True)  # fmt: skip
        if "exceptionDetails" in done:
            return {"error": json.dumps(done["exceptionDetails"])}, tab.console()
        return done["result"].get("value"), tab.console()


def shot(page: Path, tmp_path: Path, scheme: str, width: int = 1300, height: int = 1600) -> np.ndarray:
    """(height, width, 3) int: the page as it looks, in "light" or "dark"."""
    from PIL import Image

    with browser(tmp_path) as tab:
        tab.show(page, width, height, scheme)
        data = base64.b64decode(tab.call("Page.captureScreenshot", format="png")["data"])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
