"""The page without a server: a folder of static files, in which nano runs in the browser itself."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from seem.errors import SeemError
from seem.exporting.conversion import WeightPrecision
from seem.exporting.export import export
from seem.exporting.web_runtime import GPU_FILES, runtime_files
from seem.loading import load
from seem.model import Model
from seem.part_files import part_folder
from seem.server.content_policy import CONTENT_SECURITY_POLICY
from seem.version import __version__

PAGE = Path(__file__).parent / "page"
LICENSE = Path(__file__).parents[1] / "assets" / "onnxruntime_license.txt"
FILE_LIST = "files.js"
MODEL, RUNTIME = "model", "runtime"
LISTED = re.compile(r"self\.SEEM_FILES = (\{.*\});")
UNUSED = ("api.css",)  # of the description of the API, which a server has
UNLISTED = (FILE_LIST, "service_worker.js")  # browsers ask for them themselves


def write_page(
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] | Model = "nano",
    precision: WeightPrecision = "fp16",
    *,
    runtime: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write the page with a model in it, for any static host and any path there; returns the files.

    Args:
        out: folder. Other files in it stay.
        model: nano or a model fine-tuned from it: a name, a file, the folder of a run, or a model.
        precision: of the stored weights, as in `export`.
        runtime: folder of the npm package onnxruntime-web; None = download it into the cache of Seem.
        overwrite: replace an earlier page.

    Raises:
        ValueError: an unknown model or precision.
        FileExistsError: there is a page in the folder, without `overwrite`.
        SeemError: a package is not installed, the runtime cannot be had, or the model cannot run in a browser.
    """
    folder = Path(out).resolve()
    check_page_folder(folder, overwrite)
    network = model if isinstance(model, Model) else load(model, "cpu", "exact")
    if network.network.kind.name != "dense":
        raise SeemError(
            f"{network.name} cannot run in a browser; nano and models fine-tuned from it can."
        )
    libraries = runtime_files(None if runtime is None else Path(runtime))
    with part_folder(folder.parent) as part:
        export(network, part / MODEL, "onnx", precision)
        write_libraries(part / RUNTIME, libraries)
        write_modules(part)
        write_file_list(part)
        return move_into(part, folder)


def check_page_folder(folder: Path, overwrite: bool) -> None:
    """Raise before any work if the files could not be written."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"Cannot write a page to {folder}: it is a file; choose a folder.")
    for name in (FILE_LIST, "index.html"):
        if (folder / name).exists() and not overwrite:
            raise FileExistsError(
                f"{folder / name} exists already; pass overwrite (--overwrite) or another folder."
            )


def write_libraries(folder: Path, files: dict[str, bytes]) -> None:
    """Write ONNX Runtime with its licence."""
    folder.mkdir()
    for name, content in files.items():
        (folder / hosted_name(name)).write_bytes(content)
    (folder / "LICENSE.txt").write_bytes(LICENSE.read_bytes())


def hosted_name(name: str) -> str:
    """Return the name of a module that every host sends as JavaScript: some do not know `.mjs`."""
    return name.replace(".mjs", ".js")


def write_modules(folder: Path) -> None:
    """Copy the page; its document says that there is no server."""
    for source in sorted(PAGE.rglob("*")):
        name = source.relative_to(PAGE).as_posix()
        if source.is_dir() or name in UNUSED:
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    index = folder / "index.html"
    index.write_text(without_server(index.read_text(encoding="utf-8")), encoding="utf-8")


def without_server(document: str) -> str:
    """Return the document for the engine in the browser, with the policy that a server would send."""
    directives = CONTENT_SECURITY_POLICY.split("; ")
    policy = "; ".join(each for each in directives if not each.startswith("frame-ancestors"))
    charset = '<meta charset="utf-8" />'
    meta = f'{charset}\n    <meta http-equiv="Content-Security-Policy" content="{policy}" />'
    return document.replace('data-engine="server"', 'data-engine="browser"').replace(charset, meta)


def write_file_list(folder: Path) -> None:
    """Write what the service worker stores: the SHA-256 of every file by name, and a version made of them."""
    for_gpus = set(map(hosted_name, GPU_FILES))
    needed: dict[str, str] = {}
    optional: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name in UNLISTED:
            continue
        group = optional if path.name in for_gpus else needed
        group[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256(json.dumps([needed, optional]).encode()).hexdigest()
    files = {
        "version": f"{__version__}-{digest[:12]}",
        "needed": needed,
        "optional": optional,
    }
    text = f"self.SEEM_FILES = {json.dumps(files, indent=1)};\n"
    (folder / FILE_LIST).write_text(text, encoding="utf-8")


def move_into(part: Path, folder: Path) -> tuple[Path, ...]:
    """Move all files into the folder, the list of them last; files of an earlier page that are no more are removed."""
    names = [
        path.relative_to(part).as_posix() for path in sorted(part.rglob("*")) if path.is_file()
    ]
    names.sort(key=FILE_LIST.__eq__)
    earlier = listed_names(folder)
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (part / name).replace(target)
    for name in earlier - set(names):
        (folder / name).unlink(missing_ok=True)
    return tuple(folder / name for name in names)


def listed_names(folder: Path) -> set[str]:
    """Return the files of an earlier page; none where the folder holds none, or its list cannot be read."""
    try:
        listed = LISTED.search((folder / FILE_LIST).read_text(encoding="utf-8").replace("\n", " "))
        files = json.loads(listed.group(1)) if listed else {}
        names = {*files["needed"], *files["optional"]} if files else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {name for name in names if is_inside(folder, folder / name)}


def is_inside(folder: Path, path: Path) -> bool:
    """Tell whether a path is below a folder."""
    return path.resolve().is_relative_to(folder.resolve())
