"""`seem page`: the page as a folder of static files, with the model in it."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from seem.cli.export import StoredPrecision
from seem.cli.options import FLAG
from seem.server.static_page import write_page


def page_command(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write.")],
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="Model: nano, or the weights or the folder of a run that was fine-tuned from it.",
        ),
    ] = "nano",
    precision: Annotated[
        StoredPrecision, typer.Option(help="Of the stored weights, as in seem export.")
    ] = StoredPrecision.FP16,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where npm has installed onnxruntime-web. Default: download it once into the cache of Seem.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar=FLAG, help="Replace an earlier page.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", metavar=FLAG, help="Print nothing but errors.")
    ] = False,
) -> None:
    """Write the page with a model in it: it needs no server, any static host will do. Needs the extra `export`.

    seem page --out site

    python -m http.server --directory site

    Photos stay in the browser. After the first visit the page works offline.
    """
    files = write_page(out, model, precision.value, runtime=runtime, overwrite=overwrite)
    if quiet:
        return
    size, compressed = sizes_of(files)
    typer.echo(f"{out}: {len(files)} files, {size:.1f} MB ({compressed:.1f} MB compressed)")
    typer.echo(f"See it: python -m http.server --directory {out}")


def sizes_of(files: Iterable[Path]) -> tuple[float, float]:
    """Return the megabytes of files, as they are and as hosts send them (gzip)."""
    sizes, compressed = 0, 0
    for file in files:
        content = file.read_bytes()
        sizes += len(content)
        compressed += len(gzip.compress(content))
    return sizes / 1e6, compressed / 1e6
