"""`seem export`: a model to graphs for ONNX Runtime or OpenVINO."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from seem.cli.options import FLAG
from seem.exporting.export import export as export_model


class GraphFormat(str, Enum):
    """Files of which runtime."""

    ONNX = "onnx"
    OPENVINO = "openvino"


class StoredPrecision(str, Enum):
    """Precision of the stored weights."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


def export_command(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write.")],
    model: Annotated[
        str,
        typer.Option(metavar="NAME|FILE", help="Model: a name, a file, or the folder of a run."),
    ] = "nano",
    format: Annotated[
        GraphFormat, typer.Option(help="Runtime that reads the graphs.")
    ] = GraphFormat.ONNX,
    precision: Annotated[
        StoredPrecision,
        typer.Option(help="Of the stored weights: float32, half its size, or a quarter."),
    ] = StoredPrecision.FP32,
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", help="Version of the ONNX operators, 18 to 23. Default: 18."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar=FLAG, help="Replace an earlier export.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", metavar=FLAG, help="Print nothing but errors.")
    ] = False,
) -> None:
    """Write a model as graphs that run without PyTorch, with all that is needed to run them."""
    files = export_model(
        model, out, format.value, precision.value, opset=opset, overwrite=overwrite
    )
    if quiet:
        return
    for file in files:
        typer.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
