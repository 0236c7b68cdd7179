"""`seem convert`: an official checkpoint to a safetensors file in this package's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seem import zoo
from seem.checkpoints.class_embeddings import path_beside
from seem.checkpoints.network import convert_official as convert_checkpoint
from seem.cli.class_embeddings import write_built_in_classes
from seem.cli.errors import print_error, write_line
from seem.cli.options import FLAG, check_file_to_write
from seem.config import SegmenterConfig
from seem.errors import SeemError


def convert_command(
    official: Annotated[
        Path, typer.Argument(metavar="OFFICIAL", help="The authors' file: .pt, .pth or .bin.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write: .safetensors.")],
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the model; the file does not contain it.")
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar=FLAG, help="Replace an existing OUT.")
    ] = False,
    no_classes: Annotated[
        bool,
        typer.Option(
            "--no-classes",
            metavar=FLAG,
            help="Do not compute the embeddings of COCO's and ADE20K's classes, which takes minutes.",
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", metavar=FLAG, help="Print nothing but errors.")
    ] = False,
) -> None:
    """Convert an official checkpoint to safetensors; code inside the file never runs.

    The embeddings of COCO's and ADE20K's class names go into OUT's neighbour, .classes.safetensors: with it beside OUT,
    the first panoptic segmentation does not have to compute them.
    """
    config = convertible_config(model)
    check_target(official, out, overwrite)
    if not no_classes and path_beside(out).exists() and not overwrite:
        raise FileExistsError(
            f"{path_beside(out)} exists already; pass --overwrite or --no-classes."
        )
    unused_tensors = convert_checkpoint(official, out, config)
    if not no_classes:
        write_classes(out, quiet=quiet)
    if quiet:
        return
    megabytes = out.stat().st_size / 1e6
    typer.echo(f"{out}: {config.name}, {megabytes:.0f} MB; load it with seem.load({str(out)!r})")
    if unused_tensors:
        typer.echo(
            f"Left out on purpose, the network does not need them: {', '.join(unused_tensors)}"
        )


def write_classes(out: Path, *, quiet: bool) -> None:
    """Write class embeddings beside a converted file; a line on stderr where the tokenizer cannot be fetched."""
    if not quiet:
        write_line(
            "Computing the embeddings of class names, once; --no-classes skips that.",
            to_errors=True,
        )
    try:
        write_built_in_classes(out)
    except SeemError as error:
        print_error(f"{out} is written, without embeddings of class names: {error}")


def convertible_config(name: str) -> SegmenterConfig:
    """Return the configuration of a model whose authors publish checkpoints; `ValueError` for any other."""
    card = zoo.find_model_card(name)
    if card.manifest is None or card.config is None:
        convertible = ", ".join(other.name for other in zoo.list_models() if other.manifest)
        raise ValueError(
            f"{name} has no official checkpoint to convert; --model is one of {convertible}."
        )
    return card.config()


def check_target(official: Path, out: Path, overwrite: bool) -> None:
    """Raise before any work if the result could not be written to `out`."""
    if out.suffix != ".safetensors":
        raise ValueError(f"OUT is {out}; its name must end in .safetensors.")
    check_file_to_write(out, overwrite)
    if out.exists() and official.exists() and out.samefile(official):
        raise ValueError(f"OUT and OFFICIAL are both {out}; name another OUT.")
