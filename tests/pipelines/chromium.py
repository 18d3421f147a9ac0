"""Debian's Chromium, headless: what a page says, how wide it is, what it looks like."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip
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


def ask(page: Path, tmp_path: Path, width: int, script: str) -> tuple[Any, list[str]]:
    """What `script`, the body of an async function, returns in the page; and the lines of the console.

    The page is shown in a frame of `width` pixels: Chromium's own windows are never narrower than 500.
    """
    text = page.read_text(encoding="utf-8").replace("</body>", f"""<script>
      window.addEventListener('load', async () => {{
        let answer;
        try {{ answer = await (async () => {{ {script} }})(); }} catch (error) {{ answer = {{error: String(error)}}; }}
        parent.document.body.dataset.answer = JSON.stringify(answer);
      }});</script></body>""")  # fmt: skip
    frame = tmp_path / "frame.html"
    frame.write_text(f"""<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body style="margin:0">
      <iframe style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(text)}"></iframe></body>""",
                     encoding="utf-8")  # fmt: skip
    # virtual time may run out before a busy machine has drawn the frame: then more of it, in a browser of its own
    for turn, budget_ms in enumerate((8_000, 40_000, 200_000) * 2):
        done = subprocess.run(
            [program(), *QUIET, "--enable-logging=stderr", f"--virtual-time-budget={budget_ms}",
             "--window-size=1400,1000", f"--user-data-dir={tmp_path / f'profile{turn}'}", "--dump-dom", f"file://{frame}"],
            check=True, timeout=120, capture_output=True, text=True,
        )  # fmt: skip
        answer = re.search(r'<body[^>]* data-answer="([^"]*)"', done.stdout)
        if answer:
            console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
            return json.loads(html.unescape(answer[1])), console
    pytest.skip("the headless browser did not draw the page in time on this machine")


def shot(page: Path, tmp_path: Path, scheme: str, width: int = 1300, height: int = 1600) -> np.ndarray:
    """(height, width, 3) int: the page as it looks, in "light" or "dark"."""
    from PIL import Image

    path = tmp_path / f"{scheme}.png"
    subprocess.run(
        [program(), *QUIET, f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",  # 1: light, 0: dark
         f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},{height}", f"--screenshot={path}",
         f"file://{page}"], check=True, timeout=120, capture_output=True,
    )  # fmt: skip
    return np.asarray(Image.open(path).convert("RGB")).astype(int)
