"""An exported folder: what `preprocess.json` says, and the graphs in ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 1  # of the folder's layout
KEYS = ("kind", "format", "model", "opset", "files", "image", "text", "thresholds", "classes")
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"


class FolderError(OSError):
    """A folder that cannot be used, in one line."""


def read_record(folder: Path) -> dict[str, Any]:
    """Read `preprocess.json` and check that it is one of nano, for ONNX Runtime, of this version."""
    path = folder / "preprocess.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FolderError(
            f"{folder} holds no preprocess.json; write it with: seem export --model nano --out {folder}"
        ) from None
    except ValueError:
        raise FolderError(f"{path} is no JSON file; export the model again.") from None
    if not isinstance(record, dict) or record.get("version") != VERSION:
        raise FolderError(
            f"{path} is not of version {VERSION}, which this seem_lite reads; export again."
        )
    missing = [key for key in KEYS if key not in record]
    if missing:
        raise FolderError(f"{path} says nothing about {missing[0]}: it is cut short; export again.")
    if record["kind"] != "dense" or record["format"] != "onnx":
        raise FolderError(
            f"{folder} holds {record['model']} as {record['format']}; seem_lite runs nano, exported with --format onnx."
        )
    return record


def weights_folder(folder: Path, record: dict[str, Any]) -> Path | None:
    """Return where the file of weights lies that the graphs refer to: the folder or the one above; None = none does."""
    weights = record.get("weights")
    if weights is None:
        return None
    name = weights["file"]
    for candidate in (folder, folder.parent):
        if (candidate / name).is_file() and Path(name).name == name:
            digest = hashlib.sha256((candidate / name).read_bytes()).hexdigest()
            if digest == weights["sha256"]:
                return candidate
            raise FolderError(
                f"{candidate / name} is not the file of weights that {folder} was made for; write the graphs again."
            )
    raise FolderError(
        f"{folder} needs the weights {name}, which are neither there nor one folder up."
    )


def read_vocabulary(folder: Path) -> dict[str, Any]:
    """Read the byte pairs of `tokenizer.json`: "vocab" and "merges"."""
    path = folder / "tokenizer.json"
    try:
        model: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["model"]
        return {"vocab": model["vocab"], "merges": model["merges"]}
    except OSError as error:
        raise FolderError(
            f"{path} cannot be read ({error.strerror}); export the model again."
        ) from None
    except (ValueError, KeyError, TypeError):
        raise FolderError(f"{path} is no tokenizer of an export; export the model again.") from None


class Graph:
    """One graph of a folder, checked against what the export recorded."""

    def __init__(self, folder: Path, name: str, record: dict[str, Any], threads: int) -> None:
        weights = weights_folder(folder, record)
        path = folder / f"{name}.onnx"
        recorded = record["files"].get(path.name, {})
        try:
            content = path.read_bytes()
        except OSError as error:
            raise FolderError(
                f"{path} cannot be read ({error.strerror}); export the model again."
            ) from None
        if hashlib.sha256(content).hexdigest() != recorded.get("sha256"):
            raise FolderError(
                f"{path} is not the graph that preprocess.json names ({len(content)} bytes, "
                f"not {recorded.get('bytes')}): cut short, or of another export; export the model again."
            )
        try:
            import onnxruntime  # here: reading a folder's record needs no runtime
        except ImportError:
            raise FolderError(
                f"{path} is run by the package onnxruntime; install it with: pip install onnxruntime"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry(
            "session.disable_quant_qdq", "1"
        )  # 8-bit weights grow when they are loaded
        if weights is not None:
            options.add_session_config_entry(EXTERNAL_FOLDER, str(weights))
        try:
            self.session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        except Exception as error:  # the runtime has several of its own
            reason = str(error).splitlines()[0]
            raise FolderError(
                f"ONNX Runtime {onnxruntime.__version__} cannot run {path} (opset {record['opset']}): {reason}"
            ) from None
        self.outputs = [output.name for output in self.session.get_outputs()]

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run the graph: arrays by name in, arrays by name out."""
        return dict(zip(self.outputs, self.session.run(None, inputs), strict=True))
