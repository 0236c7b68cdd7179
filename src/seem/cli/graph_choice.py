"""Whether `seem segment` answers with exported graphs or with PyTorch."""

from __future__ import annotations

from pathlib import Path

from seem.cli.options import EngineName, ModelOptions
from seem.errors import SeemError
from seem.exported_model import has_pytorch, is_exported, packaged_graphs

EMBEDDED = "nano"
FEW_PHOTOS = 4  # up to so many, importing PyTorch takes longer than it saves


def choose_graphs(network: ModelOptions, option: str | None, num_photos: int) -> Path | None:
    """Return the folder of the graphs that answer, None for PyTorch.

    `option` is one that graphs do not answer, if there is any. Raises `ValueError` for such an option with a folder of
    graphs, and `SeemError` where PyTorch is needed and not installed.
    """
    option = option or option_beyond_graphs(network)
    if network.model != EMBEDDED and is_exported(network.model):
        if option is not None:
            raise ValueError(
                f"{option} needs PyTorch, and {network.model} holds exported graphs; leave it out, "
                "or name the model itself."
            )
        return Path(network.model)
    graphs = packaged_graphs() if network.model == EMBEDDED else None
    is_worth_it = num_photos <= FEW_PHOTOS or not has_pytorch()
    if graphs is not None and option is None and is_worth_it:
        return graphs
    if not has_pytorch():
        raise SeemError(missing_pytorch(network.model, option, graphs))
    return None


def option_beyond_graphs(network: ModelOptions) -> str | None:
    """Return the option about the network that asks for more than graphs can; None if there is none."""
    if network.device not in (None, "cpu"):
        return f"--device {network.device}"
    if network.engine is not EngineName.TORCH:
        return f"--engine {network.engine.value}"
    if network.size is not None:
        return f"--size {network.size}"
    return None


def missing_pytorch(model: str, option: str | None, graphs: Path | None) -> str:
    """Say what needs PyTorch, and what does not."""
    what = model
    if graphs is not None and option is not None:
        what = option
    without = "exported graphs run without: --model FOLDER of seem export"
    return f"{what} needs PyTorch, which is not installed: pip install torch ({without})."
