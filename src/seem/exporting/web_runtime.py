"""ONNX Runtime for browsers: files of the npm package `onnxruntime-web`, fetched once and checked at every use.

They are 31 MB, so that they are no part of Seem. They are taken from the package where it is installed, else from the
cache of downloads, else from jsDelivr, which serves the files of npm packages one by one.
"""

from __future__ import annotations

import hashlib
import json
import urllib.request
from contextlib import suppress
from pathlib import Path

from seem.checkpoints.download import cache_folder
from seem.checkpoints.safe import atomic_write
from seem.errors import SeemError, short_reason

VERSION = "1.30.0"
PACKAGE = "onnxruntime-web"
SOURCE = f"https://cdn.jsdelivr.net/npm/{PACKAGE}@{VERSION}/dist/"
ANSWER_SECONDS = 30.0

CPU_FILES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
GPU_FILES = {
    "ort.jspi.min.mjs": "bc57179d923fda2d88d4a395359c8df44399dde087bf9ff44fc0e40ab398e4d9",
    "ort-wasm-simd-threaded.jspi.mjs": "270e2c6da9f297239d301d329782b6446641cb1e16a77967690adcfca35f3268",
    "ort-wasm-simd-threaded.jspi.wasm": "a54c76f86b0f0d9572380cf1c6292a7b3903716ffcbcd6b0e5c7050bf430eb93",
}
"""For browsers with WebGPU, beside the others."""


def runtime_files(installed: Path | None = None) -> dict[str, bytes]:
    """Return the content of all files by name; `installed` is a folder of the npm package, or one that npm filled.

    Raises `SeemError` where a file is missing, another version's, or cannot be fetched.
    """
    sums = CPU_FILES | GPU_FILES
    if installed is None:
        return {name: fetched_file(name, sha256) for name, sha256 in sums.items()}
    dist = dist_folder(installed)
    files = {}
    for name, sha256 in sums.items():
        content = (dist / name).read_bytes() if (dist / name).is_file() else b""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise SeemError(
                f"{dist / name} is not that of {PACKAGE} {VERSION}{version_found(dist)}; "
                f"install it with: npm install {PACKAGE}@{VERSION}"
            )
        files[name] = content
    return files


def dist_folder(installed: Path) -> Path:
    """Return the folder of built files: the one given, or one in it."""
    package = Path("node_modules") / PACKAGE
    for below in (Path(), Path("dist"), Path(PACKAGE, "dist"), package / "dist"):
        if (installed / below / next(iter(CPU_FILES))).is_file():
            return installed / below
    raise SeemError(
        f"{installed} holds no {PACKAGE}; install it there with: "
        f"npm install --prefix {installed} {PACKAGE}@{VERSION}"
    )


def version_found(dist: Path) -> str:
    """Say which version a folder of built files belongs to, as far as it is known."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads((dist.parent / "package.json").read_text(encoding="utf-8"))
        return f" (it is of {record['version']})"
    return ""


def fetched_file(name: str, sha256: str) -> bytes:
    """Return a file from the cache; fetched first where it is not there, or damaged."""
    path = cache_folder() / f"{PACKAGE}-{VERSION}" / name
    with suppress(FileNotFoundError):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == sha256:
            return content
    content = download(name)
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise SeemError(f"{SOURCE}{name} is damaged: expected sha256 {sha256}, got {digest}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        part.write_bytes(content)
    return content


def download(name: str) -> bytes:
    """Fetch a file; `SeemError` with the ways out where that fails."""
    try:
        with urllib.request.urlopen(SOURCE + name, timeout=ANSWER_SECONDS) as answer:
            content: bytes = answer.read()
            return content
    except OSError as error:
        raise SeemError(
            f"Cannot fetch {SOURCE}{name} ({short_reason(error)}); connect to the internet once, or pass --runtime "
            f"FOLDER with what npm install {PACKAGE}@{VERSION} puts there."
        ) from None
