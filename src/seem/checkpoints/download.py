"""Official weights and CLIP's vocabulary from the Hugging Face hub, kept in a cache and checked at every use.

The hub names a large file by its sha256 (the "etag" of Git LFS). That sum is checked when the file arrives, recorded
beside it, and checked whenever the file is used again; from then on no network is needed. An interrupted download goes
on where it stopped, in this process or a later one. Environment: `SEEM_CACHE` (folder, default ~/.cache/seem),
`HF_ENDPOINT` (another hub), `HF_HUB_OFFLINE`, and the usual proxy variables.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from seem.checkpoints.safe import atomic_write, sha256_of
from seem.errors import SeemError, short_reason

SHA256 = re.compile(r"[0-9a-f]{64}")
ANSWER_SECONDS = 10.0  # how long the hub may take to say what a file is


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a public hub repository; where `sha256` is known beforehand, nothing else passes."""

    repository: str
    name: str
    sha256: str | None = None

    @property
    def url(self) -> str:
        """Where the file is fetched from."""
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        return f"{endpoint.rstrip('/')}/{self.repository}/resolve/main/{self.name}"

    @property
    def path(self) -> Path:
        """Where the file is kept, whether or not it is there yet."""
        return cache_folder() / self.repository.replace("/", "--") / self.name


@dataclass(frozen=True, slots=True)
class Record:
    """What is known about a file of the cache, as written to the JSON beside it."""

    sha256: str
    size: int  # in bytes
    source: str


# The file of OpenAI's CLIP (MIT), byte for byte: the sum is that of the file in their own repository.
CLIP_VOCABULARY = HubFile(
    repository="OpenGVLab/ViCLIP-L-14-hf",
    name="bpe_simple_vocab_16e6.txt.gz",
    sha256="924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
)


def cache_folder() -> Path:
    """Say where downloads are kept: `SEEM_CACHE`, else `seem` in the user's cache folder."""
    chosen = os.environ.get("SEEM_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "seem"


def fetch(file: HubFile, *companions: HubFile) -> Path:
    """Give the local path of a file whose content is what the hub promised; downloads it the first time.

    `companions` are needed as well and fetched before it. A file put there by hand is welcome: its sha256 is recorded
    at its first use. Raises `SeemError`; where the hub cannot be reached, it names all that is missing.
    """
    wanted = (*companions, file)
    for one in wanted:
        if not one.path.exists():
            try:
                _download(one)
            except SeemError:
                raise
            except (
                Exception
            ) as error:  # the hub's client raises the errors of whichever HTTP library it uses
                missing = [other for other in wanted if not other.path.exists()]
                raise SeemError(
                    f"Cannot fetch {one.name} ({short_reason(error)}); {_by_hand(*missing)}."
                ) from error
        _check(one)
    return file.path


def _download(file: HubFile) -> None:
    """Fetch into a `.part` file named after its content, so that only the same content is ever continued."""
    from filelock import FileLock
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.file_download import http_get

    metadata = get_hf_file_metadata(
        file.url, token=False, timeout=ANSWER_SECONDS, library_name="seem"
    )
    expected = _promised_sha256(file, metadata.etag)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_beside(file, ".lock")):
        if file.path.exists():  # another process was faster
            return
        part = _beside(file, f".{expected[:12]}.part")
        if metadata.size is not None and part.exists() and part.stat().st_size > metadata.size:
            part.unlink()
        with part.open("ab") as sink:
            http_get(
                file.url,
                sink,
                resume_size=sink.tell(),
                expected_size=metadata.size,
                displayed_filename=file.name,
            )
        _keep(file, part, expected)


def _promised_sha256(file: HubFile, etag: str | None) -> str:
    if etag is None or not SHA256.fullmatch(etag):
        raise SeemError(
            f"The hub does not say the sha256 of {file.url}, so it cannot be checked; {_by_hand(file)}."
        )
    if file.sha256 not in (None, etag):
        raise SeemError(
            f"The hub offers another {file.name} (sha256 {etag}) than the one Seem knows (sha256 {file.sha256}); "
            f"{_by_hand(file)}."
        )
    return etag


def _keep(file: HubFile, part: Path, expected: str) -> None:
    """Let a whole download in under its final name, its record first; throw a damaged one away."""
    arrived = sha256_of(part)
    if arrived != expected:
        part.unlink()
        raise SeemError(
            f"{file.name} arrived damaged: expected sha256 {expected}, got {arrived}; try again, or {_by_hand(file)}."
        )
    _write_record(file, Record(expected, part.stat().st_size, file.url))
    part.replace(file.path)


def _check(file: HubFile) -> None:
    """Hold the cached file against its recorded sum; one without a record was put there by hand and gets one."""
    record_path = _beside(file, ".json")
    digest = sha256_of(file.path)
    recorded = _read_record(record_path)
    expected = file.sha256 or (recorded.sha256 if recorded else digest)
    if digest != expected:
        raise SeemError(
            f"{file.path} is not what it was: expected sha256 {expected}, got {digest}. "
            f"Delete it and {record_path.name} beside it, and it is fetched again."
        )
    if recorded is None:
        with suppress(OSError):  # a cache that may only be read keeps no record
            _write_record(file, Record(digest, file.path.stat().st_size, "put there by hand"))


def _read_record(path: Path) -> Record | None:
    if not path.exists():
        return None
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise SeemError(
            f"{path} is no record of a download; delete it and the file beside it."
        ) from error


def _write_record(file: HubFile, record: Record) -> None:
    with atomic_write(_beside(file, ".json")) as aside:
        aside.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")


def _beside(file: HubFile, suffix: str) -> Path:
    return file.path.with_name(file.name + suffix)


def _by_hand(file: HubFile, *others: HubFile) -> str:
    further = (f", and {other.url} to {other.path}" for other in others)
    return f"fetch {file.url} yourself and put it at {file.path}{''.join(further)}"
