"""The embedded model, exported once for all tests of a run (it takes a minute), and read without PyTorch."""

import subprocess
import sys

import pytest
from filelock import FileLock


def export_once(tmp_path_factory: pytest.TempPathFactory):
    """Return the folder to which the command line has exported nano, for ONNX Runtime."""
    base = tmp_path_factory.getbasetemp()
    if base.name.startswith("popen-"):  # of one of several workers, which share its parent
        base = base.parent
    folder = base / "exported nano"
    with FileLock(base / "exported nano.lock"):
        if not folder.exists():
            command = [
                sys.executable,
                "-m",
                "seem",
                "export",
                "--model",
                "nano",
                "--out",
                folder,
                "--quiet",
            ]
            run = subprocess.run(command, capture_output=True, text=True)
            assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    return folder
