"""What the official network was asked in every recorded case, asked of ours.

A case is a function that reads its inputs from the recording, runs the network, and compares each recorded array. It
reads photos, prompts, phrases and sizes from the file, never from here: other folders hold the same cases with others.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from parity import picture, prompted
from parity.bench import ARCHITECTURES
from parity.comparison import Comparison, Tolerance
from parity.losses import caption_losses, losses, matching
from parity.recording import Folder
from parity.setting import Setting
from parity.thresholds import settled
from seem.simulation.next_click import approximate_depth, seem_first_clicks, seem_next_clicks

# ------------------------------------------------------------------------------------------------ without a network


def click_simulation(given: Setting) -> None:
    """The next click of the released code, its distance transform, and the first click."""
    recording, compare = given.recording, given.compare
    height, width = recording.arrays["dt"].shape[1:]
    logits = recording.tensor("prev_mask")[0]
    padded_height, padded_width = (4 * side for side in logits.shape[1:])
    truth = recording.unpacked("gt", width)
    compare.numbers("dt", approximate_depth(truth))
    middles = recording.tensor("first_click")
    compare.exact("first_click", seem_first_clicks(truth), squares(middles, height, width))
    after = seem_next_clicks(
        F.pad(truth, (0, padded_width - width, 0, padded_height - height)),
        logits,
        recording.unpacked("pos_in", padded_width),
        recording.unpacked("neg_in", padded_width),
    )
    compare.exact("pos_out", after.positive, recording.unpacked("pos_out", padded_width))
    compare.exact("neg_out", after.negative, recording.unpacked("neg_out", padded_width))


def squares(middles: Tensor, height: int, width: int) -> Tensor:
    """Draw 3x3 squares around (row, column)."""
    rows, columns = torch.arange(height)[None, :, None], torch.arange(width)[None, None]
    return ((rows - middles[:, :1, None]).abs() <= 1) & (
        (columns - middles[:, 1:, None]).abs() <= 1
    )


def seem_losses(given: Setting) -> None:
    """Every loss of every head, and which queries were matched."""
    recording, compare, dtype = given.recording, given.compare, given.dtype
    named_losses(given, dict(losses(recording, dtype).named()))
    for photo in (0, 1):
        match = matching(recording, photo, dtype)
        compare.exact(f"match{photo}_src", match.queries)
        compare.exact(f"match{photo}_tgt", match.objects)


def caption_and_retrieval_losses(given: Setting) -> None:
    """What X-Decoder is charged for captions and for whose they are."""
    named_losses(given, dict(caption_losses(given.recording, given.dtype).named()))


def named_losses(given: Setting, ours: dict[str, Tensor]) -> None:
    """Compare all losses of a recording, none left out on either side."""
    recorded = set(given.recording.names(r"loss_\w+"))
    assert set(ours) == recorded, f"not in both: {set(ours) ^ recorded}"
    for name, loss in ours.items():
        given.compare.ratios(name, loss)


# ------------------------------------------------------------------------------------------------ the table

CASES: dict[str, Callable[[Setting], None]] = {
    "seem_v1_samvit*/features": picture.features_of_sam,
    "*/features": picture.features,
    "*/panoptic*": picture.panoptic,
    "*/postprocess": picture.postprocess,
    "*/captioning": picture.captioning,
    "*/retrieval": picture.retrieval,
    "*/classification": picture.classification,
    "*/grounding_single": prompted.grounding_single,
    "*/grounding": prompted.grounding,
    "*/language": prompted.language,
    "*/language_full_templates": prompted.language_full_templates,
    "*/interactive_f64": prompted.interactive_f64,
    "*/inter_*": prompted.interactive,
    "*/edge_*": prompted.interactive,
    "*/noc_loop": prompted.noc_loop,
    "*/train_forward": prompted.train_forward,
    "seem_v0_*/refimg": prompted.other_photo,
    "seem_demo_*/refimg*": prompted.demo_with_other_photo,
    "seem_demo_*/stroke*": prompted.demo,
    "seem_demo_*/text*": prompted.demo,
    "seem_demo_*/audio*": prompted.demo,
    "click_simulation": click_simulation,
    "seem_losses": seem_losses,
    "xdecoder_vlp_losses": caption_and_retrieval_losses,
}
"""What a case is, by its name: the first pattern that fits."""

AGAINST_FLOAT64 = Tolerance(vectors=1e-5, masks=1e-5)
IN_FLOAT64 = Tolerance(vectors=1e-4, masks=2e-4, noise=5e-5)
IN_FLOAT32 = Tolerance(vectors=1e-4, masks=1e-3, noise=1e-4)
OF_LOSSES = Tolerance(1e-5, 1e-5)
WITHOUT_NETWORK = {
    "click_simulation": Tolerance(1e-4, 1e-4),
    "seem_losses": OF_LOSSES,
    "xdecoder_vlp_losses": OF_LOSSES,
}


def precisions(case: str) -> tuple[torch.dtype, ...]:
    """Return the precisions that a case is asked in: float64 settles what is rounding, float32 is what people run.

    Cases that end in `_f64` were recorded in float64. Post-processing and clicks start from recorded float32 numbers
    and decide about every pixel of a photo: only the same precision decides the same at ties. The mean over all
    templates repeats `language` four hundred times and would take a minute in float64.
    """
    what = case.rpartition("/")[2]
    if what in ("postprocess", "click_simulation", "language_full_templates"):
        return (torch.float32,)
    return (torch.float64,) if what.endswith("_f64") else (torch.float64, torch.float32)


def is_slow(case: str, dtype: torch.dtype) -> bool:
    """Whether a case is left to `make test-slow`: large networks, and what float32 proves well enough every day.

    SEEM v0, the demo and X-Decoder with FocalNet-T share image and text networks with SEEM v1, which is asked in both
    precisions; of their own decoders, only what was recorded in float64 is asked in float64.
    """
    model = case.rpartition("/")[0]
    if model not in ARCHITECTURES or model == "seem_v1_focalt":
        return False
    return not model.endswith("_focalt") or (dtype == torch.float64 and not case.endswith("_f64"))


def marks(case: str, dtype: torch.dtype) -> list[pytest.MarkDecorator]:
    """Mark what is slow, and keep a network in one process where the workers of pytest-xdist are told so."""
    slow = [pytest.mark.slow] if is_slow(case, dtype) else []
    return [pytest.mark.xdist_group(f"{case.split('/')[0]}-{dtype}"), *slow]


def tolerance(case: str, dtype: torch.dtype) -> Tolerance:
    """Return how near we have to be."""
    if case in WITHOUT_NETWORK:
        return WITHOUT_NETWORK[case]
    if case.endswith("_f64"):
        return AGAINST_FLOAT64
    return IN_FLOAT64 if dtype == torch.float64 else IN_FLOAT32


def play(folder: Folder, case: str, dtype: torch.dtype) -> Comparison:
    """Ask our network what a case asked the official one, and compare."""
    model = case.rpartition("/")[0]
    functions = [function for pattern, function in CASES.items() if fnmatchcase(case, pattern)]
    assert functions, f"{case}: nobody knows what this case asks"
    assert not model or model in ARCHITECTURES, f"{case}: nobody knows this model"

    def ask() -> Comparison:
        recording = folder.open(case)
        compare = Comparison(recording, tolerance(case, dtype))
        with torch.inference_mode():
            functions[0](Setting(model, dtype, folder, recording, compare))
        return compare

    return settled(ask, tolerance(case, dtype).noise)
