"""What the command line imports, and what it leaves to programs that import the package."""

import json
import os
import subprocess
import sys
from importlib.abc import Loader
from types import ModuleType

import pytest
import torch

from seem import deferred_imports, startup
from seem.cli.main import VERBS, needed_verbs
from seem.deferred_imports import DeferringLoader
from tiny import picture

START = """
import gc, json, sys
from types import ModuleType
sys.argv = json.loads(sys.argv[1])
import seem, seem.cli.main, torch
rules = sys.modules["torch._meta_registrations"]
facts = {"collects": gc.isenabled(), "is_deferred": type(rules) is not ModuleType}
"""
RUN = (
    START
    + """
facts["code"] = seem.cli.main.main()
facts["imported"] = sorted(sys.modules)
print(json.dumps(facts))
"""
)
USE_RULES = (
    START
    + """
facts["by"] = sys.argv[2]
if facts["by"] == "name":
    rules.register_meta
else:
    assert seem.deferred_imports.DeferringFinder().find_spec("torch._dynamo", None) is None
facts["is_still_deferred"] = type(rules) is not ModuleType
facts["has_rules"] = "torch._prims" in sys.modules and callable(rules.register_meta)
print(json.dumps(facts))
"""
)
USE_GENERATOR = (
    START
    + """
generator = torch.Generator().manual_seed(0)
facts["random"] = torch.randn(3, generator=generator).tolist()
facts["is_generator"] = isinstance(generator, torch.Generator)
from torch.utils.data import RandomSampler
order = RandomSampler(range(4))
facts["drawn"] = sorted(order)
facts["is_still_deferred"] = type(rules) is not ModuleType
print(json.dumps(facts))
"""
)
PRINT_AT_EXIT = """
import atexit, sys
from types import ModuleType
def report():
    print("deferred:", type(sys.modules["torch._meta_registrations"]) is not ModuleType)
atexit.register(report)
"""
TIME_BOTH_PRECISIONS = RUN.replace(
    'facts["code"]', 'seem.models.precision.SMALL_NETWORK_PARAMETERS = 0; facts["code"]'
).replace("import seem,", "import seem.models.precision,")


def path_with(folder):
    """Modules are searched for in a folder, then where this process finds them."""
    return os.pathsep.join([str(folder), *filter(None, sys.path)])


def facts_of(program, *words, cwd):
    run = subprocess.run(
        [sys.executable, "-c", program, json.dumps(words)],
        cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(run.stdout.splitlines()[-1])


def test_a_click_from_the_shell_imports_no_compiler_and_no_other_verb(tmp_path):
    picture(40, 30).save(tmp_path / "a.png")
    facts = facts_of(RUN, "seem", "segment", "a.png", "--point", "9,9", "--quiet", cwd=tmp_path)
    assert (facts["code"], facts["collects"], facts["is_deferred"]) == (0, True, True)
    unused = {
        *("torch._decomp", "torch._dynamo", "torch._inductor", "sympy", "scipy", "cv2", "networkx", "tensorboard"),
        *("seem.training", "seem.evaluation", "seem.finetuning", "seem.recipes", "huggingface_hub"),
    }  # fmt: skip
    assert not unused & set(facts["imported"])
    assert (tmp_path / "seem-out" / "a.mask-0.png").is_file()


@pytest.mark.parametrize("by", ["name", "compiler"])
def test_what_was_deferred_is_there_once_it_is_needed(tmp_path, by):
    facts = facts_of(USE_RULES, "seem", "segment", by, cwd=tmp_path)
    assert facts == {
        **{"collects": True, "is_deferred": True, "is_still_deferred": False},
        **{"has_rules": True, "by": by},
    }


def test_random_generators_work_while_rules_are_deferred(tmp_path):
    facts = facts_of(USE_GENERATOR, "seem", "segment", cwd=tmp_path)
    expected = torch.randn(3, generator=torch.Generator().manual_seed(0)).tolist()
    assert facts == {
        **{"collects": True, "is_deferred": True, "is_still_deferred": True},
        **{"random": expected, "is_generator": True, "drawn": [0, 1, 2, 3]},
    }


def test_a_click_from_the_shell_can_time_both_precisions(tmp_path):
    picture(40, 30).save(tmp_path / "a.png")
    words = ("segment", "a.png", "--point", "9,9", "--quiet", "--precision", "auto")
    facts = facts_of(TIME_BOTH_PRECISIONS, "seem", *words, "--device", "cpu", cwd=tmp_path)
    assert (facts["code"], facts["is_deferred"]) == (0, True)


def test_rules_are_not_deferred_where_generators_need_them(monkeypatch):
    class RulesLoader(Loader):
        def exec_module(self, module):
            module.executed = True

    rules = ModuleType("rules")
    monkeypatch.setattr(deferred_imports, "can_make_generators", lambda: False)
    DeferringLoader(RulesLoader()).exec_module(rules)
    assert type(rules) is ModuleType
    assert rules.executed


@pytest.mark.parametrize(
    ("argv", "orig_argv", "module"),
    [
        (["/bin/seem", "segment"], ["python", "/bin/seem", "segment"], "seem"),
        (["C:/seem.exe"], ["python", "C:/seem.exe"], "seem"),
        (["-m", "segment"], ["python", "-m", "seem", "segment"], "seem"),
        (["-m", "--data"], ["python", "-m", "seem.recipes.tower", "--data"], "seem.recipes.tower"),
        (["-m"], ["python", "-m", "pytest"], None),
        (["program.py"], ["python", "program.py"], None),
        (["-c"], ["python", "-c", "import seem"], None),
        (["/bin/seem"], ["python", "-c", "...", "--multiprocessing-fork"], None),
    ],
)
def test_the_module_that_was_started_is_known(monkeypatch, argv, orig_argv, module):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    assert startup.started_module() == module


def test_a_recipe_starts_with_all_of_torch(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(PRINT_AT_EXIT)
    run = subprocess.run(
        [sys.executable, "-m", "seem.recipes.tower", "--help"],
        env={**os.environ, "PYTHONPATH": path_with(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.splitlines()[-1] == "deferred: False"


@pytest.mark.parametrize("words", [("seem", "train"), ("program.py",)])
def test_training_and_other_programs_import_all_of_torch(tmp_path, words):
    facts = facts_of(START + "print(json.dumps(facts))", *words, cwd=tmp_path)
    assert facts == {"collects": True, "is_deferred": False}


@pytest.mark.parametrize(
    ("words", "verbs"),
    [
        (["segment", "a.png"], ("segment",)),
        (["data", "check"], ("data",)),
        (["--help"], VERBS),
        (["segmnet"], VERBS),
        ([], VERBS),
    ],
)
def test_only_the_verb_that_is_called_is_imported(words, verbs):
    assert needed_verbs(words) == verbs
