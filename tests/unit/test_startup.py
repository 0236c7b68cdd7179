"""What the command line imports, and what it leaves to programs that import the package."""

import json
import os
import subprocess
import sys

import pytest

from seem.cli.main import VERBS, needed_verbs
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
