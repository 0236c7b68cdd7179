"""Verbs killed at random moments: nothing half-written, a message and its code, and the same call goes on.

Each runs in a forked child that has imported everything, with a tiny model, so that a run takes a second or two.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import tiny_data
import tiny_training
import tiny_verbs
from seem import startup, zoo
from seem.part_files import is_part
from tiny import picture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked"),
]

SEED = int(os.environ.get("SEEM_KILL_SEED", "0"))
NUM_KILLS = 4  # of each verb
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
REPEATED = 0.3  # share of signals that come twice
LONGEST_PAUSE = 0.03  # seconds between the two
ENDS_BADLY = 70

VERBS = {
    "segment": ("segment photos --out out --size 64", "--resume"),
    "datasets": ("segment photos --out out --size 64 --format coco,yolo,labelme --copy-photos", "--overwrite"),
    "label": ("label photos --classes cat,dog --out out --size 64 --format coco,yolo", "--resume"),
    "track": ("track frames --box 8,8,40,30 --out out --size 64 --format davis,youtube-vis,mots", "--overwrite"),
    "backward": ("track frames --frame 7 --backward --box 8,8,40,30 --out out --size 64", "--overwrite"),
    "retrieve": ("retrieve photos --text cat --out out --size 64", "--overwrite"),
    "evaluate": ("evaluate --data coco:coco --task instance --out out/report.json", "--overwrite"),
    "archive": ("data check bricks.zip", ""),
    "subset": ("data subset coco:coco out.json --photos 1", "--overwrite"),
    "shards": ("data shards bricks out --per-shard 2", "--overwrite"),
    "finetune": ("finetune --data bricks --out out --steps 2 --size 64 --batch 2 --processes 1", "--resume"),
    "nano": ("train nano --data pack:pack --out run/out --steps 4 --batch 2 --processes 1", "--resume"),
    "published": ("train seem --data bricks --out out --steps 2 --size 64 --batch 2 --model v1.safetensors "
                  "--processes 1", "--resume"),
    "convert": ("convert v1.pt ours.safetensors --model seem-focal-t-v1", "--overwrite"),
    "export": ("export --out out", "--overwrite"),
    "demo": ("demo photo.png out", ""),
    "gallery": ("gallery examples out/gallery.png", ""),
}  # fmt: skip
"""The call, and the option with which it goes on or begins anew."""


@dataclass
class Workshop:
    """A folder in which verbs run, with the folders of temporary and of cached files beside it."""

    root: Path
    inputs: Path
    work: Path = field(init=False)

    def __post_init__(self):
        self.work = self.root / "work"

    def clear(self):
        """Begin anew, with the inputs alone."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.inputs, self.work)
        for name in ("temporary", "cache"):
            (self.root / name).mkdir()

    def start(self, words):
        """Run a call in a child and return its process number."""
        process = os.fork()
        if not process:
            self._be_program(words)
        return process

    def run(self, words):
        """Run a call; return its exit code and what it said."""
        return self.wait(self.start(words))

    def wait(self, process):
        """Wait for a child; return its exit code and what it said."""
        _, status = os.waitpid(process, 0)
        return os.waitstatus_to_exitcode(status), (self.root / "errors").read_text()

    def outputs(self):
        """Return the files that are no inputs, nor cached."""
        files = set()
        for folder in (self.work, self.root / "temporary"):
            for path in folder.rglob("*"):
                name = path.relative_to(folder)
                if not path.is_dir() and not (self.inputs / name).exists():
                    files.add(name.as_posix())
        return {name for name in files if "tfevents" not in name}

    def _be_program(self, words):
        code = ENDS_BADLY
        try:
            for number in SIGNALS[1:]:
                signal.signal(number, signal.SIG_DFL)
            startup.watch_signals()
            for descriptor, name in ((1, "lines"), (2, "errors")):
                file = os.open(self.root / name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
                os.dup2(file, descriptor)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.environ["XDG_CACHE_HOME"] = str(self.root / "cache")
            tempfile.tempdir = str(self.root / "temporary")
            os.chdir(self.work)
            code = tiny_verbs.run_verb(words)
            atexit._run_exitfuncs()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A workshop with photos, frames and data sets, in which nano is tiny."""
    for module in (
        "finetuning.run",
        "training.figures",
        "evaluation.plots",
        "data.readers.shards",
        "exporting.export",
    ):
        importlib.import_module(f"seem.{module}")
    inputs = tmp_path_factory.mktemp("inputs")
    for name in ("photos", "frames"):
        (inputs / name).mkdir()
        for number in range(8):
            picture(64, 48, seed=number).save(inputs / name / f"{number}.png")
    tiny_data.coco(inputs / "coco")
    bricks = tiny_training.bricks(inputs / "bricks")
    shutil.make_archive(str(bricks), "zip", bricks)
    known, file = tiny_training.use_tiny_nano(tmp_path_factory.mktemp("weights"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "MODEL_CARDS", known)
        patch.setattr("seem.loading.embedded", lambda: nullcontext(file))
        tiny_verbs.add_inputs(inputs, patch)
        yield Workshop(tmp_path_factory.mktemp("workshop"), inputs)


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_killed_leaves_nothing_and_goes_on(workshop, verb):
    if verb in ("track", "backward"):
        pytest.importorskip("av")
    if verb == "export":
        pytest.importorskip("onnxruntime")
    call, way_on = VERBS[verb]
    words = call.split()
    workshop.clear()
    started = time.monotonic()
    code, errors = workshop.run(words)
    seconds = time.monotonic() - started
    assert code == 0, errors
    whole = Whole(code, workshop.outputs(), seconds)
    draws = random.Random(f"{SEED} {verb}")
    for _ in range(NUM_KILLS):
        kill_once(workshop, words, way_on, whole, draws)


@dataclass(frozen=True)
class Whole:
    """What a run leaves that nothing interrupts, and how long it takes."""

    code: int
    outputs: set[str]
    seconds: float


def kill_once(workshop, words, way_on, whole, draws):
    """Kill a run at a random moment, check what it says and leaves, and run it again."""
    workshop.clear()
    number = draws.choice(SIGNALS)
    process = workshop.start(words)
    time.sleep(draws.random() * whole.seconds)
    os.kill(process, number)  # also of a process that has ended, until somebody waits for it
    if draws.random() < REPEATED:
        time.sleep(draws.random() * LONGEST_PAUSE)
        os.kill(process, number)
    code, errors = workshop.wait(process)
    assert code in (whole.code, -number if number == signal.SIGKILL else 128 + number), errors
    assert "Traceback" not in errors
    assert "Exception" not in errors
    if code == 128 + number:
        assert "seem: interrupted" in errors
        check_nothing_aside(workshop)
    again, errors = workshop.run(words)
    if again != whole.code and way_on:
        assert "--overwrite" in errors  # it says how to go on
        again, errors = workshop.run([*words, way_on])
        if "no run to go on with" in errors:
            again, errors = workshop.run([*words, "--overwrite"])
    assert again == whole.code, errors
    check_nothing_aside(workshop)
    assert workshop.outputs() == whole.outputs


def check_nothing_aside(workshop):
    """Check that no temporary file is left, and that every JSON file is whole."""
    for path in workshop.root.rglob("*"):
        assert not is_part(path), path
        assert not path.name.startswith("in-use"), path
        if path.suffix == ".json":
            json.loads(path.read_bytes())
