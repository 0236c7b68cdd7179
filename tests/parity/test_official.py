"""Every recorded answer of the official network, asked of ours: `make parity DIR=<folder>`."""

from __future__ import annotations

import pytest
import torch

from parity.bench import COMPARED
from parity.cases import WITHOUT_NETWORK, is_later, play, precisions, tolerance
from parity.recording import Folder

EXPECTED = (
    *("features", "panoptic_decoder", "panoptic_padded", "panoptic_decoder_f64", "postprocess"),
    *("grounding", "grounding_single", "language", "language_full_templates"),
    *("inter_click", "inter_posneg", "inter_box", "inter_round2", "inter_multi", "inter_multi_round2"),
    *("inter_click_text", "interactive_f64", "noc_loop", "train_forward"),
    *("edge_memory_blocked", "edge_many_negatives", "edge_only_negative"),
)

UNREADABLE = "index.json"  # stands for the cases of a folder that does not say which it has


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    folder = Folder(metafunc.config.getoption("--parity-dir"))
    try:
        asked = [(case, dtype) for case in folder.cases if not is_later(case) for dtype in precisions(case)]
    except (OSError, ValueError):
        asked = [(UNREADABLE, torch.float64)]
    asked.sort(key=lambda pair: (str(pair[1]), pair[0].split("/")[0]))  # one network after the other
    metafunc.parametrize(
        ("case", "dtype"),
        [
            pytest.param(case, dtype, id=f"{case}-{dtype}".replace("torch.", ""), marks=marks(case, dtype))
            for case, dtype in asked
        ],
    )


def marks(case: str, dtype: torch.dtype) -> list[pytest.MarkDecorator]:
    """Keep a network in one process; all but the first are slow."""
    model = case.split("/")[0]
    slow = [pytest.mark.slow] if model in COMPARED[1:] else []
    return [pytest.mark.xdist_group(f"{model}-{dtype}"), *slow]


@pytest.fixture
def folder(parity_dir, pytestconfig):
    """The folder of recordings; absent is only allowed to be the one beside a bare clone."""
    beside = pytestconfig.rootpath.parent / "shared"
    if not beside.exists() and parity_dir.resolve() == (beside / "parity").resolve():
        pytest.skip("there is no ../shared beside this clone; test_excerpt.py proves what travels with it")
    return Folder(parity_dir)


def test_answers_equal_the_recording(folder, case, dtype, record_property):
    record_property("case", case)
    record_property("precision", str(dtype).removeprefix("torch."))
    assert case in folder.cases, f"{case} is not in the index"
    compare = play(folder, case, dtype)
    complaints = compare.complaints()
    record_property("verdict", f"within {tolerance(case, dtype)}: {', '.join(complaints) or compare.summary()}")
    assert complaints == []


def test_no_case_is_missing(shared):
    listed = [case for case in Folder(shared / "parity").cases if not is_later(case)]
    ours = [case.removeprefix("seem_v1_focalt/") for case in listed if not case.startswith(COMPARED[1:])]
    assert sorted(ours) == sorted((*WITHOUT_NETWORK, *EXPECTED))
    assert {case.split("/")[0] for case in listed} == {*WITHOUT_NETWORK, *COMPARED}
