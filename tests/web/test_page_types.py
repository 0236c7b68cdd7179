"""The types in the comments of the modules hold, by TypeScript's strict rules."""

import subprocess
from pathlib import Path

import pytest

from seem.server.app import PAGE

COMPILER = Path(__file__).resolve().parents[2] / ".venv/node/node_modules/.bin/tsc"
OPTIONS = (
    "--noEmit --allowJs --checkJs --strict --target es2022 --module es2022 --moduleResolution bundler "
    "--lib es2022,dom,dom.iterable"
)


@pytest.mark.skipif(not COMPILER.exists(), reason="make test-web brings TypeScript where npm is")
def test_types_hold():
    command = [str(COMPILER), *OPTIONS.split(), "main.js", "service_worker.js"]
    checked = subprocess.run(command, cwd=PAGE, capture_output=True, text=True, check=False)
    assert checked.stdout == ""
    assert checked.returncode == 0
