"""Makes the phrase tower of nano, before any photo is seen: byte-pair vocabulary, then weights.

    python -m seem.recipes.tower --data ../shared/data --out runs/tower

WordNet 3.0 is needed (`apt-get install wordnet-base`). The same inputs on the same machine give the same weights.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seem.checkpoints.safe import read_tensors, write_tensors
from seem.config import TextConfig
from seem.errors import SeemError
from seem.models.segmenter import unit_vectors
from seem.models.text.encoder import TextBlock, TextEncoder
from seem.models.text.tokenizer import BytePairTokenizer, Tokens
from seem.recipes.directions import Nouns, build_nouns
from seem.recipes.phrases import PhraseSampler, held_out, read_captions, stack
from seem.recipes.wordnet import WordNet
from seem.training.vocabulary import load_texts, train_bpe, write_merges

WEIGHTS_FILE, MERGES_FILE, LOG_FILE = "tower.safetensors", "bpe.txt.gz", "log.json"
STATE_FILE, SETTINGS_FILE = "state.safetensors", "settings.json"
WEIGHTS = "weights."  # in front of the keys of weights in a state
MOST_REPEATS = 40  # of a word among the texts of the byte-pair vocabulary
RIDGE, PHRASE_WEIGHT = 3.0, 1.0  # where an untagged visible word has weight 1
SAVE_EVERY = 100  # steps
START_LENGTH = 1.5  # root mean square of the coordinates of a phrase's sum, at the start


@dataclass(frozen=True, slots=True)
class TowerConfig:
    """Settings of a run. `batch` phrases a step, besides `names` class names; `sharpness` scales cosines to logits."""

    vocabulary_size: int = 10240
    layers: int = 2
    width: int = 192
    ffn: int = 512
    dim: int = 192
    shallow_steps: int = 600
    """Steps of a tower without blocks, which cost a quarter."""
    steps: int = 6000
    batch: int = 384
    names: int = 96
    learning_rate: float = 2e-3
    class_weight: float = 0.1
    sharpness: float = 20.0
    seed: int = 0

    def text(self) -> TextConfig:
        """Return the configuration of the network."""
        return TextConfig(
            tokenizer="nano", vocabulary_size=self.vocabulary_size, context=32, width=self.width, layers=self.layers,
            num_heads=4, ffn=self.ffn, templates="bare", word_shortcut=True,
        )  # fmt: skip

    def text_without_blocks(self) -> TextConfig:
        """Return the configuration of a tower that only adds up the pieces of a phrase."""
        return replace(self.text(), layers=0)


def vocabulary_texts(
    data: Path, nouns: Nouns, validation: frozenset[str] = frozenset()
) -> list[str]:
    """Return what the byte-pair vocabulary is learnt from: the texts of the photo sets, and words by their weight."""
    texts = load_texts(data)
    for word, weight in zip(nouns.words, nouns.weights, strict=True):
        if word not in validation:
            texts += [word] * min(MOST_REPEATS, round(3 * weight))
    return texts


def start_from_pieces(
    tower: TextEncoder,
    tokenizer: BytePairTokenizer,
    sampler: PhraseSampler,
    seed: int = 0,
    phrases: int = 40_000,
) -> None:
    """Set token embeddings, in place, so that the sum of a phrase's pieces is about its direction (ridge regression).

    The end token adds the mean of the pieces (`word_shortcut`), so the tower knows most words before the first step and
    its blocks learn what a sum cannot say. Width and output must be equal.
    """
    from scipy import linalg, sparse

    nouns = sampler.nouns
    rng = np.random.default_rng(seed)
    drawn = [sampler.draw(rng) for _ in range(phrases)]
    known = np.flatnonzero(sampler.weights > 0)
    texts = [*(nouns.words[row] for row in known.tolist()), *(text for text, _ in drawn)]
    targets = torch.cat((nouns.vectors[torch.from_numpy(known)], stack(drawn)[1])).numpy()
    weights = np.concatenate((sampler.weights[known], np.full(phrases, PHRASE_WEIGHT)))
    pieces = [tokenizer.encode(text) for text in texts]
    rows = np.repeat(np.arange(len(pieces)), [len(row) for row in pieces])
    columns = np.concatenate([np.array(row, dtype=np.int64) for row in pieces])
    counts = sparse.csr_matrix(
        (np.ones(len(rows)), (rows, columns)), (len(pieces), tokenizer.num_tokens)
    )
    weighted = counts.T.multiply(weights).tocsr()
    gram = (weighted @ counts).toarray()
    gram[np.diag_indices_from(gram)] += RIDGE
    solved = linalg.solve(gram, weighted @ targets, assume_a="pos", overwrite_a=True)
    with torch.no_grad():
        scale = START_LENGTH * math.sqrt(tower.tokens.embedding_dim)
        tower.tokens.weight.copy_(torch.from_numpy(solved * scale))
        tower.projection.copy_(torch.eye(tower.projection.shape[0]))


def deepen(shallow: TextEncoder, tower: TextEncoder) -> None:
    """Give a tower, in place, the weights of one without blocks; its own blocks add nothing at first."""
    tower.load_state_dict(shallow.state_dict(), strict=False)
    for block in tower.blocks:
        assert isinstance(block, TextBlock)
        for layer in (block.attention.out, block.fc2):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)


def train_tower(
    tower: TextEncoder,
    tokenizer: BytePairTokenizer,
    sampler: PhraseSampler,
    config: TowerConfig,
    steps: int,
    report: Callable[[int, float], None] | None = None,
    state: Path | None = None,
) -> None:
    """Train a text tower, in place, to map phrases to their directions. `logit_scale` stays.

    Phrases of a step depend on its number alone. With a file for the state a run that was stopped goes on where the
    file was written last, every `SAVE_EVERY` steps.
    """
    nouns = sampler.nouns
    classes = nouns.class_vectors
    trained = {name: p for name, p in tower.named_parameters() if name != "logit_scale"}
    optimizer = torch.optim.AdamW(
        trained.values(), lr=config.learning_rate, weight_decay=0.01, betas=(0.9, 0.98)
    )
    first = read_state(state, tower, optimizer) if state is not None and state.is_file() else 0
    smooth = None
    for step in range(first, steps):
        rng = np.random.default_rng((config.seed, len(tower.blocks), step))
        optimizer.param_groups[0]["lr"] = config.learning_rate * rate(step, steps)
        rows = rng.choice(len(classes), min(config.names, len(classes)), replace=False)
        drawn = [(nouns.classes[row], classes[row]) for row in rows.tolist()]
        drawn += [sampler.draw(rng) for _ in range(config.batch)]
        optimizer.zero_grad()
        loss = 0.0
        for texts, targets in by_length(drawn, tokenizer):
            vectors = unit_vectors(tower(texts.ids, texts.valid).phrases)
            priced = direction_loss(vectors, targets, classes, config) * (len(targets) / len(drawn))
            priced.backward()  # type: ignore[no-untyped-call]
            loss += float(priced.detach())
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
        if state is not None and step % SAVE_EVERY == SAVE_EVERY - 1:
            write_tower_state(state, tower, optimizer, step + 1)
        if report is not None:
            report(step, smooth)


def write_tower_state(
    file: Path, tower: TextEncoder, optimizer: torch.optim.AdamW, step: int
) -> None:
    """Keep weights and moments after `step` steps."""
    tensors = {f"{WEIGHTS}{name}": t for name, t in tower.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"{index}.{name}": t for name, t in moments.items()}
    write_tensors(file, tensors, {"step": str(step)})


def read_state(file: Path, tower: TextEncoder, optimizer: torch.optim.AdamW) -> int:
    """Take up weights and moments, in place; return how many steps are done."""
    content = read_tensors(file)
    weights: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in content.tensors.items():
        if key.startswith(WEIGHTS):
            weights[key.removeprefix(WEIGHTS)] = tensor
        else:
            index, name = key.split(".")
            moments.setdefault(int(index), {})[name] = tensor
    tower.load_state_dict(weights)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return int(content.metadata["step"])


def direction_loss(
    vectors: Float[Tensor, "n d"],
    targets: Float[Tensor, "n d"],
    classes: Float[Tensor, "c d"],
    config: TowerConfig,
) -> Tensor:
    """Price directions by their cosine, and by how their likeness to the classes differs (cross-entropy)."""
    cosine = 1 - (vectors * targets).sum(dim=1)
    target = (config.sharpness * targets @ classes.T).softmax(dim=1)
    entropy = F.cross_entropy(config.sharpness * vectors @ classes.T, target, reduction="none")
    floor = -(target * target.clamp(min=1e-12).log()).sum(dim=1)
    return (cosine + config.class_weight * (entropy - floor)).mean()


def by_length(
    drawn: Sequence[tuple[str, Tensor]], tokenizer: BytePairTokenizer, size: int = 96
) -> list[tuple[Tokens, Float[Tensor, "n d"]]]:
    """Tokenise phrases in parts of about one length, so that little is padded."""
    lengths = [len(tokenizer.encode(text)) for text, _ in drawn]
    ordered = [drawn[i] for i in np.argsort(lengths, kind="stable").tolist()]
    stacked = (stack(ordered[i : i + size]) for i in range(0, len(ordered), size))
    return [(tokenizer(texts), targets) for texts, targets in stacked]


def rate(step: int, steps: int) -> float:
    """Return the learning rate's factor: a warm-up, then a cosine down to a hundredth."""
    warm = min(1.0, (step + 1) / 100)
    return warm * max(0.01, 0.5 * (1 + math.cos(math.pi * step / steps)))


def encode_texts_of_tower(
    tower: TextEncoder, tokenizer: BytePairTokenizer, texts: Sequence[str]
) -> Float[Tensor, "n d"]:
    """Return the vectors of phrases, of length 1."""
    parts = []
    for first in range(0, len(texts), 256):
        tokens = tokenizer(texts[first : first + 256])
        with torch.no_grad():
            parts.append(unit_vectors(tower(tokens.ids, tokens.valid).phrases))
    return torch.cat(parts)


def make_tower(
    data: Path, out: Path, config: TowerConfig, wordnet: Path | None = None, hold_out: bool = False
) -> None:
    """Make a vocabulary and a tower and write both to `out`; `hold_out` keeps some words for validation.

    A run that was stopped goes on when it is started again with the same settings.

    Raises:
        SeemError: `out` was begun with other settings, or WordNet is missing.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    begin(out, config, hold_out)
    nouns = build_nouns(WordNet.open(wordnet), config.dim, config.seed)
    validation = held_out(nouns) if hold_out else frozenset()
    merges = train_bpe(vocabulary_texts(data, nouns, validation), config.vocabulary_size)
    write_merges(out / MERGES_FILE, merges)
    tokenizer = BytePairTokenizer(merges, config.text().context)
    sampler = PhraseSampler(nouns, read_captions(data, nouns), validation)
    log = Log(out)
    tower = TextEncoder(config.text(), config.dim)
    if not (out / WEIGHTS_FILE).is_file():
        shallow = TextEncoder(config.text_without_blocks(), config.dim)
        start_from_pieces(shallow, tokenizer, sampler, config.seed)
        train_tower(shallow, tokenizer, sampler, config, config.shallow_steps, log)
        deepen(shallow, tower)
        save(tower, out, config)  # already of use
    tower.load_state_dict(read_tensors(out / WEIGHTS_FILE).tensors)

    def report(step: int, loss: float) -> None:
        log(step, loss)
        if step % SAVE_EVERY == SAVE_EVERY - 1:
            save(tower, out, config)

    train_tower(tower, tokenizer, sampler, config, config.steps, report, out / STATE_FILE)
    save(tower, out, config)


def is_finished(out: Path, config: TowerConfig) -> bool:
    """Whether a run with these settings has taken its last step."""
    state = out / STATE_FILE
    return state.is_file() and int(read_tensors(state).metadata["step"]) >= config.steps


def begin(out: Path, config: TowerConfig, hold_out: bool) -> None:
    """Keep the settings of a run in its folder; refuse a folder that was begun with others."""
    settings = {**asdict(config), "hold_out": hold_out}
    file = out / SETTINGS_FILE
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != settings:
        raise SeemError(
            f"{out} was begun with other settings ({file}); take another folder or remove this one."
        )
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(settings, indent=2), encoding="utf-8")


class Log:
    """Writes every hundredth loss, with the processor time so far, to the terminal and to `log.json`."""

    def __init__(self, out: Path) -> None:
        self.file = out / LOG_FILE
        self.rows: list[dict[str, float]] = []
        if self.file.is_file():
            self.rows = json.loads(self.file.read_text(encoding="utf-8"))

    def __call__(self, step: int, loss: float) -> None:
        """Note the loss of a step."""
        if step % SAVE_EVERY == SAVE_EVERY - 1:
            row = {"step": step + 1, "loss": round(loss, 4), "cpu_s": round(time.process_time())}
            self.rows.append(row)
            self.file.write_text(json.dumps(self.rows), encoding="utf-8")
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()


def save(tower: TextEncoder, out: Path, config: TowerConfig) -> None:
    """Write the weights of a tower with its settings."""
    write_tensors(out / WEIGHTS_FILE, tower.state_dict(), {"config": json.dumps(asdict(config))})


def main() -> None:
    """Make a tower from the command line."""
    defaults = TowerConfig()
    parser = argparse.ArgumentParser(description="Make nano's phrase tower from WordNet.")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with the photo sets (../shared/data)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for vocabulary and weights")
    parser.add_argument("--wordnet", type=Path, help="folder with WordNet's database files")
    parser.add_argument("--steps", type=int, default=defaults.steps, help="training steps")
    parser.add_argument(
        "--shallow-steps",
        type=int,
        default=defaults.shallow_steps,
        help="steps before, without transformer layers",
    )
    parser.add_argument(
        "--vocabulary", type=int, default=defaults.vocabulary_size, help="number of tokens"
    )
    parser.add_argument("--layers", type=int, default=defaults.layers, help="transformer layers")
    parser.add_argument(
        "--hold-out", action="store_true", help="keep one word in 25 for validation"
    )
    options = parser.parse_args()
    config = TowerConfig(
        vocabulary_size=options.vocabulary,
        steps=options.steps,
        layers=options.layers,
        shallow_steps=options.shallow_steps,
    )
    make_tower(options.data, options.out, config, options.wordnet, options.hold_out)


if __name__ == "__main__":
    main()
