"""A name means one thing: public functions and classes, and the words that the code is written in."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from pathlib import Path

import seem

PACKAGE = Path(seem.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

PRIVATE_VOCABULARY = {
    "asked": "the request, or what is queried",
    "crumb": "minimum component ratio",
    "habits": "stroke distribution",
    "island": "connected component",
    "kept": "cached, selected, or what it is",
    "learnt": "fine-tuned on, or the noun that it is",
    "meaning": "text embedding, or sense of a word",
    "meant": "text vector, or what it is",
    "place": "cell, index, path or device",
    "said": "phrase, or the noun that it is",
    "second_look": "zoom-in refinement",
    "speck": "minimum component ratio",
    "told": "the noun that it is",
}
"""Words that earlier versions used for many things, and the field's word for each."""

OLD_NAMES = {
    "second_look",
    "_ZOOM_INSTEAD_OF_SECOND_LOOK",
}  # keyword arguments that still work, with a warning


def public_names(path: Path) -> list[str]:
    """The public classes and functions that a module defines."""
    definitions = (ast.ClassDef, ast.FunctionDef)
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    return [
        node.name
        for node in nodes
        if isinstance(node, definitions) and not node.name.startswith("_")
    ]


def test_public_names_are_defined_once():
    modules = defaultdict(list)
    for path in MODULES:
        for name in public_names(path):
            modules[name].append(str(path.relative_to(PACKAGE)))
    modules.pop("main", None)  # what a module does as a command
    assert {name: where for name, where in modules.items() if len(where) > 1} == {}


def identifiers(path: Path) -> set[str]:
    text = path.read_text(encoding="utf-8")
    return {
        token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.NAME
    }


def test_identifiers_use_the_words_of_the_field():
    found = []
    for path in MODULES:
        for name in identifiers(path) - OLD_NAMES:
            words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
            for word in {*words, name.strip("_")} & PRIVATE_VOCABULARY.keys():
                found.append(
                    f"{path.relative_to(PACKAGE)}: {name} (say {PRIVATE_VOCABULARY[word]})"
                )
    assert sorted(found) == []
