"""A page opened in a headless browser: what its script made of it, and what the console says."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE_S

__all__ = ["OpenedPage", "open_page"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True)
class OpenedPage:
    """The document after its scripts have run, the lines of its console, and what the probe returned."""

    document: str
    console: list[str]
    probe: Any


def open_page(page: Path, probe: str = "null", *, arguments: tuple[str, ...] = ()) -> OpenedPage:
    """Open a page and evaluate a probe in it once its figures are drawn.

    Args:
        page: the file.
        probe: body of an async JavaScript function after ``return``; its value must be JSON.
        arguments: of the browser.
    """
    browser = next(filter(None, map(shutil.which, _NAMES)), None)
    if browser is None:
        pytest.skip(f"no browser is installed (looked for {', '.join(_NAMES)})")
    # The probe waits for the figures, and leaves its value in the document, which the browser prints.
    script = f"""<script>(async () => {{
      const wait = () => document.querySelector(".plot") && !document.documentElement.classList.contains("drawn");
      while (wait()) await new Promise((done) => setTimeout(done, 20));
      const value = await (async () => {{ return {probe}; }})();
      const place = document.createElement("pre");
      place.id = "probe";
      place.textContent = JSON.stringify(value);
      document.body.append(place);
    }})();</script>"""
    probed = page.with_name(f"probed-{page.name}")
    probed.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{script}</body>"), encoding="utf-8")
    command = [
        browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom",
        "--enable-logging=stderr", f"--user-data-dir={page.parent / 'browser'}", "--window-size=1200,1600",
        *arguments, probed.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    written = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert written is not None, f"the probe has not run: {done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return OpenedPage(done.stdout, console, json.loads(html.unescape(written[1])))
