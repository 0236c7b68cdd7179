"""Write nano's graphs into the package, where `seem segment` finds them: `python -m seem.exporting.package_nano`.

Run it when the weights in the package change. The graphs read those weights (`shared_weights.py`), so that they add
little to the package; their record holds the sha256 of the file.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from seem.exporting.conversion import DEFAULT_OPSET, check_packages, to_onnx
from seem.exporting.description import folder_readme, preprocessing
from seem.exporting.export import bytes_writer, cpu_runtime
from seem.exporting.graphs import graphs_of
from seem.exporting.shared_weights import WeightsFile, share_weights
from seem.exporting.tokenizer_file import tokenizer_json
from seem.inference.runtime import Runtime
from seem.loading import embedded
from seem.writing import text_writer, write_together

FOLDER = "nano_graphs"  # beside the weights
LEFTOVERS = re.compile(r".+\.onnx")


def package_graphs(weights: Path, folder: Path) -> tuple[Path, ...]:
    """Write the graphs of a model that is stored in half precision into a folder beside it; returns the files."""
    check_packages("onnx")
    runtime = cpu_runtime(weights)
    return write_together(folder, graph_files(runtime, WeightsFile(weights)), True, LEFTOVERS)


def graph_files(runtime: Runtime, file: WeightsFile) -> dict[str, Callable[[Path], None]]:
    """Convert every graph, and return the writers of all files of the folder by name."""
    graphs = graphs_of(runtime.network)
    contents = {}
    for graph in graphs:
        model = to_onnx(graph, DEFAULT_OPSET)
        share_weights(model, file)
        contents[f"{graph.spec.name}.onnx"] = model.SerializeToString()
    specs = [graph.spec for graph in graphs]
    record = preprocessing(runtime, specs, "onnx", "fp16", DEFAULT_OPSET, contents)
    record["weights"] = {"file": file.name, "sha256": file.sha256}
    files = {name: bytes_writer(content) for name, content in contents.items()}
    files["tokenizer.json"] = text_writer(lambda: tokenizer_json(runtime.tokenizer))
    files["README.md"] = text_writer(lambda: folder_readme(specs, record))
    files["preprocess.json"] = text_writer(lambda: json.dumps(record, ensure_ascii=False))
    return files


def main() -> None:
    """Write the graphs of the embedded model, and print the size of every file."""
    with embedded() as weights:
        for file in package_graphs(weights, weights.parent / FOLDER):
            sys.stdout.write(f"{file}: {file.stat().st_size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main()
