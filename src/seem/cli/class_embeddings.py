"""Writes the embeddings of the class names of COCO and ADE20K beside weights: `seem convert`, and for a maintainer.

`python -m seem.cli.class_embeddings src/seem/assets/nano.safetensors` renews those of the embedded model.
"""

from __future__ import annotations

import sys
from pathlib import Path

from seem.checkpoints.class_embeddings import path_beside, write_class_embeddings
from seem.loading import load
from seem.vocabulary import Vocabulary


def write_built_in_classes(weights: Path) -> Path:
    """Compute the embeddings of the lists that ship with the package and write them beside weights.

    Returns the file that was written. Raises `SeemError` where it cannot be written, or the tokenizer not be fetched.
    """
    model = load(weights, "cpu", "exact")
    vocabularies = (Vocabulary.coco_panoptic(), Vocabulary.ade20k())
    out = path_beside(weights)
    write_class_embeddings(out, model.class_embeddings(vocabularies))
    return out


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(write_built_in_classes(Path(name)))  # noqa: T201
