"""The page in a real browser: how long people wait until a photo is ready, and from a click until its mask is painted.

    python benchmarks/page.py --users 4 --clicks 30                   # against a server of its own
    python benchmarks/page.py --site site --clicks 30                 # a folder that seem page wrote: no server

Needs Chromium and Playwright (make test-web sets both up). Every user is a browser window of its own; all click in the
same moment.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page, sync_playwright

STARTED = re.compile(r"Listening at (\S+)")
WAIT_MILLISECONDS = 120_000
PAUSE_MILLISECONDS = 1000  # between clicks
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")

RECORD_PAINTS = """
() => {
  window.painted = [];
  let pressed = 0;
  addEventListener("pointerup", () => (pressed = performance.now()), true);
  new MutationObserver(() => {
    const start = pressed;
    if (!start) return;
    pressed = 0;
    requestAnimationFrame(() => setTimeout(() => window.painted.push(performance.now() - start)));
  }).observe(document.getElementById("object-list"), { childList: true });
}
"""
"""Notes the milliseconds from the release of the button to the frame after the list of objects has changed."""


class QuietHost(SimpleHTTPRequestHandler):
    def log_message(self, *_values: object) -> None:
        pass


class User:
    """A browser window with the page."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(WAIT_MILLISECONDS)
        self.address = address
        self.ready_seconds: dict[str, float] = {}

    def open_photo(self, name: str = "open_photo") -> None:
        """Open an example photo; notes the seconds until it can be clicked."""
        self.page.goto(self.address)
        card = self.page.get_by_role("button", name="Coffee").first
        card.wait_for()
        started = time.perf_counter()
        card.click()
        self.page.wait_for_selector("#announcements:has-text('is ready')", state="attached")
        self.ready_seconds[name] = time.perf_counter() - started

    def record_paints(self) -> None:
        self.page.evaluate(RECORD_PAINTS)

    def click(self, number: int) -> None:
        """Click somewhere in the photo; the mask comes later."""
        box = self.page.locator("#photo-canvas").bounding_box()
        assert box is not None
        column, row = number % 5, number // 5 % 5
        x, y = (
            box["x"] + box["width"] * (0.3 + 0.08 * column),
            box["y"] + box["height"] * (0.3 + 0.08 * row),
        )
        self.page.mouse.click(x, y)

    @property
    def painted(self) -> list[float]:
        """Milliseconds of every click so far."""
        return self.page.evaluate("window.painted")


@contextmanager
def running_server() -> Iterator[str]:
    """Start `seem serve`; yields its address."""
    command = [sys.executable, "-m", "seem", "serve", "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield next(found[1] for line in process.stdout if (found := STARTED.search(line)))
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def running_host(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; yields the address."""
    host = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHost, directory=str(folder)))
    threading.Thread(target=host.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{host.server_port}/"
    finally:
        host.shutdown()
        host.server_close()


def measure(address: str, num_users: int, num_clicks: int, is_static: bool) -> dict[str, Any]:
    """Let users open a photo and click; returns seconds and milliseconds."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        users = [User(browser.new_context(), address) for _ in range(num_users)]
        for user in users:
            user.open_photo("first_photo")
            if is_static:  # the second visit is isolated, and has threads
                user.page.evaluate("async () => (await navigator.serviceWorker.ready).state")
            user.open_photo("photo")
            user.record_paints()
        for number in range(num_clicks):
            for user in users:
                user.click(number)
            users[0].page.wait_for_timeout(PAUSE_MILLISECONDS)
        milliseconds: list[float] = []
        for user in users:
            milliseconds += user.painted
        threads = users[0].page.evaluate("crossOriginIsolated")
        ready: dict[str, float] = {}
        for name in users[0].ready_seconds:
            seconds = statistics.median(user.ready_seconds[name] for user in users)
            ready[name] = round(seconds, 3)
        browser.close()
    return {
        "users": num_users,
        "ready_seconds": ready,
        "threads": threads,
        "clicks": len(milliseconds),
        "click_to_painted_ms": quantiles(milliseconds),
    }


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 1),
        "p95": round(ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)], 1),
        "largest": round(ordered[-1], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=1)
    parser.add_argument("--clicks", type=int, default=30, help="of every user")
    parser.add_argument(
        "--site", type=Path, help="folder that seem page wrote; else a server is started"
    )
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    host = running_host(arguments.site) if arguments.site else running_server()
    with host as address:
        found = measure(address, arguments.users, arguments.clicks, arguments.site is not None)
    found["load_average"] = [round(value, 1) for value in os.getloadavg()]
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
