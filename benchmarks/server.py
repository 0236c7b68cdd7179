"""`seem serve` under load, on this machine: requests a second, times of a click, memory, and what faults do to it.

    python benchmarks/server.py --users 4 --requests 10000 --out server.json

Every user is a connection of its own that uploads a photo and then clicks, refines, undoes, finds a phrase and exports;
one request in twenty is wrong on purpose. The server is a process of its own; its memory is read from the metrics
of its process, after every tenth of the requests.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

PHOTO = Path(__file__).resolve().parents[1] / "examples" / "photos" / "cat.jpg"
FAULT_SHARE = 0.05
NUM_MEMORY_READINGS = 10
STARTED = re.compile(r"Listening at (\S+)/ ")


@dataclass
class Load:
    """What all users have done together."""

    remaining: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> bool:
        """Take one of the requests that remain."""
        with self.lock:
            self.remaining -= 1
            return self.remaining >= 0

    def add(self, kind: str, status: int, seconds: float) -> None:
        """Count an answer."""
        with self.lock:
            self.seconds.setdefault(kind, []).append(seconds)
            self.statuses[f"{kind} {status}"] += 1


class User:
    """One user: an image, a session, and random requests about them."""

    def __init__(self, address: str, load: Load, seed: int) -> None:
        self.client = httpx.Client(base_url=address, timeout=120)
        self.load = load
        self.random = random.Random(seed)
        self.path = self.session = ""

    def run(self) -> None:
        """Send requests until none remain."""
        self.upload()
        while self.load.take():
            kinds: list[Callable[[], None]] = [self.click] * 12 + [self.round, self.undo, self.find]
            if self.random.random() < 0.01:
                self.upload()
            elif self.random.random() < FAULT_SHARE:
                self.fault()
            else:
                self.random.choice(kinds)()

    def send(self, kind: str, method: str, path: str, **content: Any) -> httpx.Response:
        """Send a request and count its answer."""
        started = time.perf_counter()
        response = self.client.request(method, path, **content)
        self.load.add(kind, response.status_code, time.perf_counter() - started)
        return response

    def upload(self) -> None:
        """Begin with a photo; the one before stays until the server forgets it."""
        response = self.send("upload", "POST", "/v1/images", content=PHOTO.read_bytes())
        self.path = f"/v1/images/{response.json()['id']}"
        response = self.send("session", "POST", f"{self.path}/sessions", json={})
        self.session = f"{self.path}/sessions/{response.json()['id']}"

    def point(self) -> dict[str, Any]:
        """Return a click somewhere."""
        x, y = self.random.randrange(450), self.random.randrange(300)
        return {"kind": "point", "x": x, "y": y}

    def click(self) -> None:
        """Ask for the object under the pointer."""
        self.send(
            "click",
            "POST",
            f"{self.path}/segment",
            json={"prompts": [self.point()], "masks": "png"},
        )

    def round(self) -> None:
        """Refine."""
        self.send("round", "POST", f"{self.session}/rounds", json={"prompts": [self.point()]})

    def undo(self) -> None:
        """Take a round back; there may be none."""
        self.send("undo", "DELETE", f"{self.session}/rounds/last")

    def find(self) -> None:
        """Ask for a phrase."""
        self.send("find", "POST", f"{self.path}/find", json={"phrases": ["cat"]})

    def fault(self) -> None:
        """Send something wrong."""
        faults = [
            ("POST", f"{self.path}/segment", {"json": {"prompts": [{"kind": "lasso"}]}}),
            ("POST", f"{self.path}/segment", {"json": {"prompts": [{**self.point(), "x": 10**6}]}}),
            ("POST", "/v1/images/nothing/segment", {"json": {"prompts": [self.point()]}}),
            ("POST", "/v1/images", {"content": b"no picture"}),
            ("POST", f"{self.path}/find", {"content": b"{", "headers": {"content-type": "application/json"}}),
        ]  # fmt: skip
        method, path, content = self.random.choice(faults)
        self.send("fault", method, path, **content)


def resident_megabytes(pid: int) -> float:
    """Return the memory of a process (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) / 1024


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return what a table shows of many times, in milliseconds."""
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {
        "count": len(ordered),
        "median_ms": round(1000 * statistics.median(ordered), 1),
        "p95_ms": round(1000 * late, 1),
    }


def measure(address: str, pid: int, users: int, requests: int) -> dict[str, Any]:
    """Let users ask until all requests are answered."""
    load = Load(requests)
    threads = [threading.Thread(target=User(address, load, seed).run) for seed in range(users)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    memory: list[float] = []
    while any(thread.is_alive() for thread in threads):
        if requests - load.remaining >= len(memory) * requests / NUM_MEMORY_READINGS:
            memory.append(round(resident_megabytes(pid), 1))
        time.sleep(0.2)
    seconds = time.perf_counter() - started
    memory.append(round(resident_megabytes(pid), 1))
    return {
        "users": users,
        "requests": sum(load.statuses.values()),
        "requests_per_second": round(sum(load.statuses.values()) / seconds, 1),
        "times": {kind: percentiles(values) for kind, values in sorted(load.seconds.items())},
        "statuses": dict(sorted(load.statuses.items())),
        "resident_megabytes": memory,
    }


def main() -> None:
    """Start a server, ask it, stop it."""
    parser = argparse.ArgumentParser(description="Load on seem serve.")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--users", type=int, default=4)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--cache", type=int, default=256, help="MiB for encoded images")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    command = [sys.executable, "-m", "seem", "serve", "--port", "0", "--model", given.model]
    command += ["--cache", str(given.cache)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        matches = (STARTED.search(line) for line in server.stdout)
        address = next(match[1] for match in matches if match)
        try:
            report = measure(address, server.pid, given.users, given.requests)
        finally:
            server.terminate()
    report["exit_code"] = server.returncode
    print(json.dumps(report, indent=1))
    if given.out is not None:
        given.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
