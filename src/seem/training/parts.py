"""The parts of a network by the names that users freeze them by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from seem.deprecation import warn_renamed

PARTS: Mapping[str, tuple[str, ...]] = {
    "backbone": ("backbone.",),
    "pixel-decoder": ("pixel_decoder.",),
    "text": ("text.",),
    "prompts": ("prompt_encoder.",),
    "decoder": ("decoder.", "image_projection"),
    "refiner": ("mask_refiner.",),
    "text-map": ("text_embedding_head.",),
}
"""Prefixes of the parameter names of each part. The published models have neither refiner nor text map."""

EARLIER_NAMES: Mapping[str, str] = {"meaning": "text-map"}
"""Earlier names of parts, which work for one version, with a warning."""


def check_parts(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names, each once; `ValueError` for one that is no part."""
    unique = tuple(dict.fromkeys(current_name(name) for name in names))
    for name in unique:
        if name not in PARTS:
            raise ValueError(
                f"There is no part {name!r} of the network; the parts are {', '.join(PARTS)}."
            )
    return unique


def current_name(name: str) -> str:
    """Return today's name of a part; an earlier one warns."""
    if name not in EARLIER_NAMES:
        return name
    warn_renamed(f"The part {name!r}", repr(EARLIER_NAMES[name]))
    return EARLIER_NAMES[name]


def learning_rate_factors(by_part: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Turn factors of the learning rate by part into factors by prefix of parameter names."""
    factors: dict[str, float] = {}
    for name, factor in by_part.items():
        factors |= dict.fromkeys(part_prefixes([name]), factor)
    return tuple(factors.items())


def part_prefixes(names: Iterable[str]) -> tuple[str, ...]:
    """Return the prefixes of the parameter names of some parts; `ValueError` for a name that is no part."""
    prefixes: list[str] = []
    for name in check_parts(names):
        prefixes += PARTS[name]
    return tuple(prefixes)


def freeze(model: nn.Module, names: Sequence[str]) -> int:
    """Freeze parts, their parameters and their statistics; return the number of frozen parameters.

    Raises:
        ValueError: a name is no part, or nothing is left to train.
    """
    prefixes = part_prefixes(names)
    num_frozen = 0
    for name, p in model.named_parameters():
        if prefixes and name.startswith(prefixes):
            p.requires_grad_(False)
            num_frozen += p.numel()
    for name, module in model.named_modules():
        if prefixes and f"{name}.".startswith(prefixes):
            module.eval()
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            f"With {', '.join(names)} frozen nothing is left to train; leave a part out of --freeze."
        )
    return num_frozen


def freeze_statistics(model: nn.Module) -> None:
    """Make batch normalisation use the statistics that it has: those of a few images are too rough."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def parameters_by_part(model: nn.Module) -> dict[str, int]:
    """Return the number of parameters of every part that a network has."""
    counts = {}
    for part, prefixes in PARTS.items():
        count = 0
        for parameter_name, p in model.named_parameters():
            if parameter_name.startswith(prefixes):
                count += p.numel()
        if count:
            counts[part] = count
    return counts
