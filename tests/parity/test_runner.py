"""`make parity` on small folders of recordings made here: what it lists, and what makes it fail."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from parity.cases import play
from parity.recording import Folder
from seem.simulation.next_click import approximate_depth, seem_first_clicks, seem_next_clicks

ROOT = Path(__file__).resolve().parents[2]


def a_recording():
    """A case that needs no network, answered by ourselves."""
    truth = torch.zeros(2, 24, 32, dtype=torch.bool)
    truth[0, 4:16, 5:20] = truth[1, 10:22, 8:30] = True
    logits = torch.linspace(-3, 3, 2 * 6 * 8).reshape(2, 6, 8)
    clicked = seem_first_clicks(truth)
    after = seem_next_clicks(truth, logits, clicked, torch.zeros_like(clicked))

    def packed(masks):
        return np.packbits(masks.numpy(), axis=-1)

    return {
        "gt": packed(truth),
        "prev_mask": logits[None].numpy(),
        "pos_in": packed(clicked),
        "neg_in": packed(torch.zeros_like(clicked)),
        "pos_out": packed(after.positive),
        "neg_out": packed(after.negative),
        "dt": approximate_depth(truth).numpy(),
        "first_click": np.array(
            [click.nonzero().float().mean(dim=0).tolist() for click in clicked]
        ).astype(np.int64),
    }


@pytest.fixture
def folder(tmp_path):
    """A folder with one good case."""
    (tmp_path / "fixtures").mkdir()
    list_cases(tmp_path, "click_simulation")
    record(tmp_path)
    return tmp_path


def list_cases(root, *cases):
    (root / "fixtures" / "index.json").write_text(json.dumps({case: {} for case in cases}))


def record(root, **changes):
    np.savez(root / "fixtures" / "click_simulation.npz", **{**a_recording(), **changes})


def make_parity(root):
    """Run what the Makefile runs, without the cases that come along; return the exit code and the lines printed."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "answers_equal",
    ]
    command += ["tests/parity/test_official.py", f"--parity-dir={root}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return run.returncode, run.stdout.strip().splitlines()


def line_of(case, lines):
    (line,) = (line for line in lines if line.startswith(f"{case} "))
    return line.removeprefix(case).strip()


def test_a_good_folder_passes_and_every_case_has_its_line(folder):
    code, lines = make_parity(folder)
    assert code == 0, lines
    assert line_of("click_simulation", lines).startswith("ok  float32 within 1e-4: 0")
    assert "1 passed" in lines[-1]


def test_a_case_that_is_off_or_unknown_or_missing_fails(folder):
    wrong = a_recording()["pos_out"]
    wrong[0, 0, 0] ^= 1
    record(folder, pos_out=wrong)
    list_cases(
        folder, "click_simulation", "seem_losses", "seem_v1_focalt/telepathy", "seem_v9/features"
    )
    code, lines = make_parity(folder)
    assert code == 1, lines
    assert (
        line_of("click_simulation", lines)
        == "OFF float32 within 1e-4: 1 entries of pos_out is off, allowed 0"
    )
    assert line_of("seem_losses", lines).startswith(
        "OFF float64 cannot be compared: FileNotFoundError"
    )
    assert line_of("seem_v1_focalt/telepathy", lines).endswith("nobody knows what this case asks")
    assert line_of("seem_v9/features", lines).endswith("nobody knows this model")
    assert "failed" in lines[-1]


def test_a_folder_without_an_index_fails(folder):
    (folder / "fixtures" / "index.json").unlink()
    code, lines = make_parity(folder)
    assert code == 1, lines
    assert any("index.json cannot be read" in line for line in lines)


def test_a_case_that_is_cut_short_cannot_be_compared(folder):
    path = folder / "fixtures" / "click_simulation.npz"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises((zipfile.BadZipFile, ValueError)):
        play(Folder(folder), "click_simulation", torch.float32)


def test_an_array_that_nobody_knows_is_off(folder):
    record(folder, more=np.zeros(3))
    compare = play(Folder(folder), "click_simulation", torch.float32)
    assert compare.complaints() == ["nothing was compared with more"]
