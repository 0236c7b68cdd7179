"""An exported folder: what `preprocess.json` says, and the graphs in ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

VERSION = 1  # of the folder's layout


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
    if record["kind"] != "dense" or record["format"] != "onnx":
        raise FolderError(
            f"{folder} holds {record['model']} as {record['format']}; seem_lite runs nano, exported with --format onnx."
        )
    return record


class Graph:
    """One graph of a folder, checked against what the export recorded."""

    def __init__(self, folder: Path, name: str, record: dict[str, Any], threads: int) -> None:
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
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry(
            "session.disable_quant_qdq", "1"
        )  # 8-bit weights grow when they are loaded
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
