"""Every recorded answer of the official network, asked of ours: `make parity DIR=<folder>`."""

from __future__ import annotations

import pytest
import torch

from parity.cases import WITHOUT_NETWORK, marks, play, precisions, tolerance
from parity.recording import Folder

INTERACTIVE = ("inter_click", "inter_posneg", "inter_box", "inter_round2", "inter_click_text")
MANY_OBJECTS = ("inter_multi", "inter_multi_round2")
PANOPTIC = ("features", "panoptic_decoder", "panoptic_padded")

EXPECTED = {
    "seem_v1_focalt": (
        *(*PANOPTIC, "panoptic_decoder_f64", "postprocess"),
        *("grounding", "grounding_single", "language", "language_full_templates"),
        *(*INTERACTIVE, *MANY_OBJECTS, "interactive_f64", "noc_loop", "train_forward"),
        *("edge_memory_blocked", "edge_many_negatives", "edge_only_negative"),
    ),
    "seem_v0_focalt": (*INTERACTIVE, "interactive_f64", "noc_loop", "train_forward", "refimg"),
    "seem_demo_focalt": (
        *("panoptic", "stroke", "text", "audio", "stroke_text", "stroke_text_audio"),
        *("refimg", "refimg_text", "refimg_stroke"),
    ),
    "xdecoder_focalt": (
        *("panoptic_decoder", "panoptic_decoder_f64", "postprocess"),
        *("grounding", "captioning", "retrieval", "classification"),
    ),
    "seem_v1_davitd3": (*PANOPTIC, *INTERACTIVE, *MANY_OBJECTS),
    "seem_v1_focall": PANOPTIC,
    "seem_v1_samvitb": ("features", "panoptic_decoder", "inter_click"),
    "xdecoder_focall": ("panoptic_decoder",),
}

UNREADABLE = "index.json"  # stands for the cases of a folder that does not say which it has


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    folder = Folder(metafunc.config.getoption("--parity-dir"))
    try:
        cases = [(case, dtype) for case in folder.cases for dtype in precisions(case)]
    except (OSError, ValueError):
        cases = [(UNREADABLE, torch.float64)]
    cases.sort(
        key=lambda pair: (str(pair[1]), pair[0].split("/")[0])
    )  # one network after the other
    metafunc.parametrize(
        ("case", "dtype"),
        [
            pytest.param(
                case, dtype, id=f"{case}-{dtype}".replace("torch.", ""), marks=marks(case, dtype)
            )
            for case, dtype in cases
        ],
    )


@pytest.fixture
def folder(parity_dir, pytestconfig):
    """The folder of recordings; absent is only allowed to be the one beside a bare clone."""
    beside = pytestconfig.rootpath.parent / "shared"
    if not beside.exists() and parity_dir.resolve() == (beside / "parity").resolve():
        pytest.skip(
            "there is no ../shared beside this clone; test_excerpt.py proves what travels with it"
        )
    return Folder(parity_dir)


def test_answers_equal_the_recording(folder, case, dtype, record_property):
    record_property("case", case)
    record_property("precision", str(dtype).removeprefix("torch."))
    assert case in folder.cases, f"{case} is not in the index"
    compare = play(folder, case, dtype)
    complaints = compare.complaints()
    record_property(
        "verdict", f"within {tolerance(case, dtype)}: {', '.join(complaints) or compare.summary()}"
    )
    assert complaints == []


def test_no_case_is_missing(shared):
    expected = [f"{model}/{what}" for model, names in EXPECTED.items() for what in names]
    assert sorted(Folder(shared / "parity").cases) == sorted((*WITHOUT_NETWORK, *expected))


def test_every_file_is_a_case(shared):
    fixtures = shared / "parity" / "fixtures"
    files = {
        path.relative_to(fixtures).with_suffix("").as_posix() for path in fixtures.rglob("*.npz")
    }
    assert files == set(Folder(shared / "parity").cases)
