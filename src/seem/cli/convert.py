"""`seem convert`: an official checkpoint becomes a safetensors file of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seem import zoo
from seem.checkpoints.network import convert_official
from seem.config import SegmenterConfig


def convert(
    official: Annotated[Path, typer.Argument(metavar="OFFICIAL", help="The authors' file: .pt, .pth or .bin.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write: .safetensors.")],
    model: Annotated[str, typer.Option(metavar="NAME", help="Which model it is; the file does not tell.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", metavar=" ", help="Replace OUT.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", metavar=" ", help="Say nothing but errors.")] = False,
) -> None:
    """Convert an official checkpoint to safetensors; code inside the file never runs."""
    config = convertible(model)
    check_target(official, out, overwrite)
    left_out = convert_official(official, out, config)
    if quiet:
        return
    typer.echo(f"{out}: {config.name}, {out.stat().st_size / 1e6:.0f} MB; load it with seem.load({str(out)!r})")
    if left_out:
        typer.echo(f"Left out on purpose, the network does not need them: {', '.join(left_out)}")


def convertible(name: str) -> SegmenterConfig:
    """Return the configuration of a model whose authors publish checkpoints; `ValueError` for any other."""
    card = zoo.find_model_card(name)
    if card.manifest is None or card.config is None:
        others = ", ".join(other.name for other in zoo.list_models() if other.manifest)
        raise ValueError(f"{name} has no official checkpoint to convert; --model is one of {others}.")
    return card.config()


def check_target(official: Path, out: Path, overwrite: bool) -> None:
    """Raise before any work if the result could not be kept."""
    if out.suffix != ".safetensors":
        raise ValueError(f"OUT is {out}; its name must end in .safetensors.")
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists already; pass --overwrite or another OUT.")
    if out.exists() and official.exists() and out.samefile(official):
        raise ValueError(f"OUT and OFFICIAL are both {out}; name another OUT.")
    if not out.absolute().parent.is_dir():
        raise NotADirectoryError(f"There is no folder {out.absolute().parent} for {out.name}; make it first.")
