"""Models in repositories of the Hugging Face hub: `user/name`, or `user/name@revision`.

A repository of Seem holds `config.json` and `model.safetensors`. Both come from one commit, also while somebody pushes,
and are checked against the digests that the hub names files by: sha256 for large files, Git's own for small ones. No
other file is fetched, and nothing in them is code. Environment: that of huggingface_hub (`HF_HOME`, `HF_TOKEN`,
`HF_ENDPOINT`, `HF_HUB_OFFLINE`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seem.checkpoints.safe import sha256_of
from seem.errors import SeemError, short_reason

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
LIBRARY = "seem"  # value of `library_name` in config.json
REPOSITORY = re.compile(
    r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([A-Za-z0-9][\w./-]*))?", re.ASCII
)
DEFAULT_REVISION = "main"
ANSWER_SECONDS = 10.0  # how long the hub may take to say what a revision is
SHA256_LENGTH, SHA1_LENGTH = 64, 40  # hexadecimal digits


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A repository of the hub, and the branch, tag or commit that is meant."""

    name: str
    revision: str

    def __str__(self) -> str:
        if self.revision == DEFAULT_REVISION:
            return self.name
        return f"{self.name}@{self.revision}"


def repository_named(text: object) -> HubRepository | None:
    """Read "user/name" or "user/name@revision"; None for what is no such name, or is there as a file or folder."""
    if not isinstance(text, str) or text.endswith((".safetensors", ".pt", ".pth", ".bin")):
        return None
    match = REPOSITORY.fullmatch(text)
    if match is None or Path(text).exists():
        return None
    return HubRepository(match[1], match[2] or DEFAULT_REVISION)


def fetch_repository(repository: HubRepository) -> Path:
    """Return the folder of a repository's configuration and weights, downloaded at the first time and checked.

    Raises `SeemError` for one that is not there, holds no model of Seem, arrived damaged, or cannot be reached.
    """
    from_cache = not answers(repository)
    config = fetch_file(repository, CONFIG_FILE, repository.revision, from_cache)
    check_config_file(config, str(repository))
    commit = config.parent.name
    weights = fetch_file(repository, WEIGHTS_FILE, commit, from_cache)
    return weights.parent


def answers(repository: HubRepository) -> bool:
    """Ask the hub, once and not for long, for a repository; False where it cannot be reached."""
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url

    try:
        url = hf_hub_url(
            repository.name, CONFIG_FILE, revision=repository.revision, endpoint=hub_endpoint()
        )
        get_hf_file_metadata(url, timeout=ANSWER_SECONDS, library_name=LIBRARY)
    except errors.HfHubHTTPError as error:
        raise SeemError(explain_failure(repository, CONFIG_FILE, error)) from None
    except (
        Exception
    ):  # no connection: the client raises the errors of whichever HTTP library it uses
        return False
    return True


def hub_endpoint() -> str | None:
    """Return the address of the hub, None for the usual one."""
    return os.environ.get("HF_ENDPOINT") or None


def fetch_file(repository: HubRepository, name: str, revision: str, from_cache: bool) -> Path:
    """Return the local path of a file of a repository at a revision, or as it was when it was last fetched."""
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(
            repository.name,
            name,
            revision=revision,
            library_name=LIBRARY,
            endpoint=hub_endpoint(),
            local_files_only=from_cache,
        )
    except (
        Exception
    ) as error:  # the hub's client raises the errors of whichever HTTP library it uses
        raise SeemError(explain_failure(repository, name, error)) from None
    check_content(Path(path), repository)
    return Path(path)


def explain_failure(repository: HubRepository, name: str, error: Exception) -> str:
    """Word in one line why a file of a repository cannot be had."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return f"{repository} is gated: ask for access on its page, then log in with: hf auth login"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repository.name} has no revision {repository.revision!r}; see its page for those it has."
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"There is neither a file or folder {repository.name} nor a model of that name on the hub "
            "(for a private one log in with: hf auth login)."
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        return (
            f"There is no file or folder {repository.name}, and {name} of that model cannot be fetched from the hub: "
            "it cannot be reached, and no earlier copy is in the cache."
        )
    if isinstance(error, errors.EntryNotFoundError):
        return f"{repository} on the hub holds no {name}; it is no model of Seem."
    return f"Cannot fetch {name} of {repository} ({short_reason(error)}); try again later."


def check_content(path: Path, repository: HubRepository) -> None:
    """Raise `SeemError` unless a file of the hub's cache has the digest that the hub names it by, if it says one."""
    digest = path.resolve().name  # of the file that the cache links to
    if len(digest) == SHA256_LENGTH:
        actual = sha256_of(path)
    elif len(digest) == SHA1_LENGTH:
        content = path.read_bytes()
        actual = hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()
    else:
        return
    if actual != digest:
        raise SeemError(
            f"{path.name} of {repository} is damaged: expected the digest {digest}, got {actual}; "
            f"delete {path.resolve()}, and it is fetched again."
        )


def check_config_file(path: Path, source: str) -> dict[str, Any]:
    """Return the content of `config.json`; `SeemError` for what is no JSON, or of another library's model."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise SeemError(f"{path.name} of {source} is no JSON; save the model again.") from None
    library = config.get("library_name") if isinstance(config, dict) else None
    if library != LIBRARY:
        described = config.get("model_type") if isinstance(config, dict) else None
        what = f"a {described} model" if described else "something else"
        raise SeemError(
            f"{source} holds {what}, none of Seem: its {path.name} does not say library_name {LIBRARY!r}."
        )
    return dict(config)
