"""The folder of a run: its files, and whether a new or resumed run may write into it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seem.checkpoints.safe import atomic_write
from seem.folder_lock import LOCK_FILES, hold_folder
from seem.part_files import is_part, remove_part
from seem.training.checkpoint import STATE_FILE
from seem.training.distributed import rank_and_world_size
from seem.training.figures import CURVES_FILE
from seem.training.run_log import LOG_FILE, RESULTS_FILE

RUN_FILE = "run.json"
BEST_FILE = "best.safetensors"
SUMMARY_FILE = "summary.json"
CACHE_FILE = "photos.cache"
WORST_FILE = "worst.png"
TENSORBOARD_FOLDER = "tensorboard"

RUN_FILES = (
    BEST_FILE,
    SUMMARY_FILE,
    CURVES_FILE,
    WORST_FILE,
    STATE_FILE,
    LOG_FILE,
    RESULTS_FILE,
    CACHE_FILE,
    RUN_FILE,  # last: while it is there, the folder holds a run
)

OPTION_NAMES = {"scratch": "from-scratch", "rates": "rate"}
"""Command line options that are not spelled like the field of the request."""

FOLDER_OPTIONS = ("finer_masks",)


@contextmanager
def hold_run_folder(out: Path) -> Iterator[None]:
    """Lock the folder of a run in its first process, and remove the parts that killed runs left in it.

    Raises `SeemError` where another run is at work.
    """
    if rank_and_world_size()[0] > 0:
        yield
        return
    with hold_folder(out):
        remove_run_parts(out)
        yield


def check_run_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise `ValueError` or `FileExistsError` if a run must not write into a folder; changes nothing."""
    if resume and overwrite:
        raise ValueError("--resume goes on with a run and --overwrite replaces it; choose one.")
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; name a folder with --out.")
    has_run = (out / RUN_FILE).is_file()
    if resume and not has_run:
        raise ValueError(
            f"There is no run to go on with in {out} ({RUN_FILE} is missing); leave --resume away."
        )
    if has_run and not (resume or overwrite):
        raise FileExistsError(
            f"{out} holds a run already; pass --resume, --overwrite or another --out."
        )
    if not has_run and out.is_dir() and not all(is_leftover(file) for file in out.iterdir()):
        raise FileExistsError(f"{out} is not empty and holds no run; name another --out.")


def is_leftover(file: Path) -> bool:
    """Return whether a file was left by a run that ended before its first step: cached images, a part, the lock."""
    names = (CACHE_FILE, Path(STATE_FILE).with_suffix(".part").name, *LOCK_FILES)
    return file.name in names or is_part(file)


def prepare_run_folder(out: Path) -> None:
    """Make the folder of a new run; of an existing one, delete a run's own files and nothing else."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / TENSORBOARD_FOLDER, ignore_errors=True)
    remove_run_parts(out)
    for name in RUN_FILES:
        (out / name).unlink(missing_ok=True)


def remove_run_parts(out: Path) -> None:
    """Remove the parts that killed runs left in a folder which this process has locked."""
    for file in list(out.iterdir()):
        if is_part(file):
            remove_part(file)
    (out / STATE_FILE).with_suffix(".part").unlink(missing_ok=True)


def check_unchanged_options(out: Path, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise `ValueError` for the first option whose value differs from that with which the run in `out` began."""
    for name, value in now.items():
        if name in begun and not _denote_the_same(name, begun[name], value):
            option = "--" + OPTION_NAMES.get(name, name.replace("_", "-"))
            raise ValueError(
                f"{out} was begun with {option} {option_text(begun[name])}, here it is {option_text(value)}; resume "
                "with the same, or begin anew with --overwrite."
            )


def _denote_the_same(name: str, begun: Any, value: Any) -> bool:
    """Whether two values of an option mean the same: lists in any order, folders however they are written."""
    if isinstance(begun, list) and isinstance(value, list):
        return sorted(map(json.dumps, begun)) == sorted(map(json.dumps, value))
    if name in FOLDER_OPTIONS and begun is not None and value is not None:
        return Path(begun).resolve() == Path(value).resolve()
    return bool(begun == value)


def option_text(value: Any) -> str:
    """Word the value of an option."""
    if value is None:
        return "left to the run"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file under another name, then rename it."""
    with atomic_write(path) as aside:
        aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
