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
"""Names of parts that changed; the old ones work for one version, with a warning."""


def check_parts(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names, each once; `ValueError` for one that is no part."""
    asked = tuple(dict.fromkeys(current_name(name) for name in names))
    for name in asked:
        if name not in PARTS:
            raise ValueError(f"There is no part {name!r} of the network; the parts are {', '.join(PARTS)}.")
    return asked


def current_name(name: str) -> str:
    """Return today's name of a part; an earlier one warns."""
    if name not in EARLIER_NAMES:
        return name
    warn_renamed(f"The part {name!r}", repr(EARLIER_NAMES[name]))
    return EARLIER_NAMES[name]


def rates_of(asked: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Turn factors of the learning rate by part into factors by the beginning of parameter names."""
    factors = {current_name(name): factor for name, factor in asked.items()}
    check_parts(factors)
    return tuple((start, factor) for name, factor in factors.items() for start in PARTS[name])


def freeze(model: nn.Module, names: Sequence[str]) -> int:
    """Let parts neither learn nor change their statistics; returns how many parameters that is.

    Raises `ValueError` if nothing is left to learn.
    """
    starts = tuple(start for name in check_parts(names) for start in PARTS[name])
    count = 0
    for name, p in model.named_parameters():
        if starts and name.startswith(starts):
            p.requires_grad_(False)
            count += p.numel()
    for name, module in model.named_modules():
        if starts and f"{name}.".startswith(starts):
            module.eval()
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"With {', '.join(names)} frozen nothing is left to train; leave a part out of --freeze.")
    return count


def freeze_statistics(model: nn.Module) -> None:
    """Let batch normalisation use the statistics that it has: those of a few photos are too rough."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def parts_of(model: nn.Module) -> dict[str, int]:
    """Count the parameters of every part that a network has."""
    sizes = dict.fromkeys(PARTS, 0)
    for key, p in model.named_parameters():
        for name, starts in PARTS.items():
            if key.startswith(starts):
                sizes[name] += p.numel()
    return {name: size for name, size in sizes.items() if size}
