import subprocess
import sys

HEAVY = [
    "scipy",
    "cv2",
    "pycocotools",
    "huggingface_hub",
    "matplotlib",
    "tokenizers",
    "ftfy",
    "regex",
    "typer",
    "skimage",
    "av",
]


def test_import_seem_stays_light():
    program = f"import seem, sys; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []
