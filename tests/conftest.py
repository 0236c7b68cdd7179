"""What all tests share: one thread per worker, checked shapes, and the folder of recordings where there is one."""

import sys
from pathlib import Path

import jaxtyping
import pytest
import torch
from jaxtyping import install_import_hook

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"  # recordings and photos; absent beside a bare clone

torch.set_num_threads(1)  # pytest-xdist brings the parallelism
# The tower: a whole number is welcome where a signature says float, as type checkers have it. A signature that cannot
# be checked at run time (a protocol that is not `runtime_checkable`) stays unchecked; pytest ignores that warning.
install_import_hook(
    "seem",
    "beartype.beartype(conf=beartype.BeartypeConf("
    "is_pep484_tower=True, warning_cls_on_decorator_exception=beartype.roar.BeartypeClawDecorWarning))",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--parity-dir",
        type=Path,
        default=SHARED / "parity",
        help="folder of recordings of the official network (default: ../shared/parity)",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHARED.exists():
        return
    skip = pytest.mark.skip(reason="there is no ../shared beside this clone")
    for item in items:
        if item.get_closest_marker("requires_shared"):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def own_cache_of_reports(tmp_path_factory: pytest.TempPathFactory, monkeypatch) -> None:
    """Keep reports of the small data sets of tests out of the user's cache."""
    module = sys.modules.get("seem.finetuning.inspection_cache")
    if module is not None:
        folder = tmp_path_factory.getbasetemp() / "cache"
        monkeypatch.setattr(module, "cache_folder", lambda: folder)


@pytest.fixture
def without_type_checks():
    """Let PyTorch trace networks: its symbolic sizes are no `int`."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def no_cache_of_class_embeddings(monkeypatch) -> None:
    """Keep class embeddings of small networks out of the user's cache, also in other processes."""
    monkeypatch.setenv("SEEM_CLASS_CACHE", "off")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings and photos; a test that asks for it is skipped on a bare clone."""
    if not SHARED.exists():
        pytest.skip("there is no ../shared beside this clone")
    return SHARED


@pytest.fixture(scope="session")
def parity_dir(pytestconfig: pytest.Config) -> Path:
    """The folder of recordings given with --parity-dir."""
    folder: Path = pytestconfig.getoption("--parity-dir")
    return folder
