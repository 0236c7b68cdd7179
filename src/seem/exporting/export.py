"""`export`: a model to a folder of graphs that run without PyTorch."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from seem.argument_types import explained
from seem.errors import SeemError
from seem.exporting.conversion import (
    Format,
    WeightPrecision,
    check_opset,
    check_packages,
    store_weights,
    to_onnx,
    to_openvino,
)
from seem.exporting.description import folder_readme, preprocessing
from seem.exporting.graphs import GRAPH_NAMES, graphs_of
from seem.exporting.tokenizer_file import tokenizer_json
from seem.folder_lock import hold_folder
from seem.inference.runtime import Runtime
from seem.loading import load
from seem.model import Model
from seem.writing import text_writer, write_together

SUFFIXES: dict[Format, tuple[str, ...]] = {"onnx": (".onnx",), "openvino": (".xml", ".bin")}
LEFTOVERS = re.compile(rf"(?:{'|'.join(GRAPH_NAMES)})(?:\.onnx|\.onnx\.data|\.xml|\.bin)")
"""Files of an earlier export in another format."""


@explained
def export(
    model: str | os.PathLike[str] | Model,
    out: str | os.PathLike[str],
    format: Format = "onnx",
    precision: WeightPrecision = "fp32",
    *,
    opset: int | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write a model as graphs for ONNX Runtime or OpenVINO, with all that is needed to run them; returns the files.

    Args:
        model: as in `load`, or a model.
        out: folder: the graphs (`image`, `text`, `prompts`; of SEEM also `phrases`; of X-Decoder `phrases` and
            `captions` in place of `prompts`), `preprocess.json`, `tokenizer.json`, `README.md`.
        format: "onnx" or "openvino".
        precision: of the stored weights: "fp32", "fp16" (half the size) or "int8" (a quarter). Arithmetic is float32.
        opset: version of the ONNX operators, 18 to 23; None = 18, which most runtimes read.
        overwrite: replace the files of an earlier export.

    Raises:
        ValueError: an unknown model, format, precision or opset.
        FileExistsError: there is an export in the folder, without `overwrite`.
        SeemError: a package is not installed (`pip install "seem[export]"`), another run writes into the folder, or the
            model cannot be exported.
    """
    check_choice("format", format, get_args(Format))
    check_choice("precision", precision, get_args(WeightPrecision))
    version = check_opset(opset)
    folder = Path(out)
    check_folder(folder, format, overwrite)
    check_packages(format)
    runtime = cpu_runtime(model)
    with hold_folder(folder):
        files = folder_files(runtime, format, precision, version)
        return write_together(folder, files, overwrite, LEFTOVERS)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise `ValueError` for an option that is none of some words."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; export takes {' or '.join(map(repr, choices))}.")


def check_folder(folder: Path, format: Format, overwrite: bool) -> None:
    """Raise before any work if the files could not be written."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"Cannot export to {folder}: it is a file; choose a folder.")
    names = [name + suffix for name in GRAPH_NAMES for suffix in SUFFIXES[format]]
    for name in (*names, "preprocess.json", "tokenizer.json", "README.md"):
        if (folder / name).exists() and not overwrite:
            raise FileExistsError(
                f"{folder / name} exists already; pass overwrite (--overwrite) or another folder."
            )


def cpu_runtime(model: str | os.PathLike[str] | Model) -> Runtime:
    """Return a model in float32 on the CPU, where graphs are traced."""
    if not isinstance(model, Model):
        return load(model, device="cpu", precision="exact")
    if model.device.type == "cpu" and model.precision == "float32":
        return model
    raise SeemError(
        f"{model.name} is on {model.device} in {model.precision}; export takes the model's name or file, "
        "or one that was loaded with device='cpu', precision='exact'."
    )


def folder_files(
    runtime: Runtime, format: Format, precision: WeightPrecision, opset: int
) -> dict[str, Callable[[Path], None]]:
    """Convert every graph, and return the writers of all files of the folder by name."""
    graphs = graphs_of(runtime.network)
    contents: dict[str, bytes] = {}
    for graph in graphs:
        converted = to_onnx(graph, opset)
        store_weights(converted, precision)
        name = graph.spec.name
        if format == "onnx":
            contents[f"{name}.onnx"] = converted.SerializeToString()
        else:
            xml, weights = to_openvino(converted, halve=precision == "fp16")
            contents[f"{name}.xml"], contents[f"{name}.bin"] = xml, weights
    specs = [graph.spec for graph in graphs]
    record = preprocessing(runtime, specs, format, precision, opset, contents)
    files = {name: bytes_writer(content) for name, content in contents.items()}
    files["tokenizer.json"] = text_writer(lambda: tokenizer_json(runtime.tokenizer))
    files["README.md"] = text_writer(lambda: folder_readme(specs, record))
    files["preprocess.json"] = text_writer(lambda: json.dumps(record, ensure_ascii=False))
    return files


def bytes_writer(content: bytes) -> Callable[[Path], None]:
    """Return a writer of bytes."""

    def write(path: Path) -> None:
        path.write_bytes(content)

    return write
