"""Where the images of Label Studio's tasks come from: one Label Studio, and one folder, both named at the start.

A task says an address. It is asked for only at the Label Studio that the server was started with, at the two paths
under which that serves images, and no redirect is followed; or it names a file below the folder. All else is refused.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

from seem.server.problems import Problem

IMAGE_PATHS = ("/data/", "/storage-data/")  # where Label Studio serves uploads and storages
LOCAL_FILES_PATH = "/data/local-files"
REFRESH_PATH = "/api/token/refresh"
TIMEOUT_SECONDS = 30.0
NUM_PARTS_OF_PERSONAL_TOKEN = 3  # a JSON Web Token, with dots between
MAX_QUOTED_CHARACTERS = 100  # characters of an address in messages


class RefusedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it might lead to another host."""

    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        """Refuse, so that the answer is an error."""


@dataclass(frozen=True, slots=True)
class TaskImageSource:
    """`url` is that of Label Studio, `token` its access token, `files` the folder of its local files; None for none."""

    url: str | None = None
    token: str | None = None
    files: Path | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for an address that is none."""
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
                raise ValueError(
                    f"--label-studio-url {self.url!r} is no address such as http://localhost:8080."
                )
        if self.files is not None and not self.files.is_dir():
            raise ValueError(f"--label-studio-files {self.files} is no folder.")

    def read(self, address: str, max_bytes: int) -> bytes:
        """Return the image file at a task's address; `Problem` if it may not be read, or cannot."""
        local = self.local_file(address)
        if local is not None:
            return read_limited(local, address, max_bytes)
        return self._download(self.checked_address(address), max_bytes)

    def local_file(self, address: str) -> Path | None:
        """Return the file in the folder that an address of Label Studio's local files names; None for another."""
        parts = urlsplit(address)
        if self.files is None or parts.path.rstrip("/") != LOCAL_FILES_PATH:
            return None
        name = unquote(parse_qs(parts.query).get("d", [""])[0])
        if "\0" in name:
            raise refused(address)
        root = Path(os.path.realpath(self.files))
        path = Path(os.path.realpath(root / name))
        if not path.is_relative_to(root):
            raise refused(address)
        return path

    def checked_address(self, address: str) -> str:
        """Return an address at Label Studio; `Problem` for one elsewhere."""
        if self.url is None:
            raise Problem(
                "invalid-request",
                f"The image {quoted_address(address)} cannot be read: start the server with --label-studio-url URL, "
                "or with --label-studio-files FOLDER for local files.",
            )
        if address.startswith(("upload/", "/upload/")):
            address = f"/data/{address.lstrip('/')}"
        whole = urljoin(f"{self.url.rstrip('/')}/", address)
        parts, own = urlsplit(whole), urlsplit(self.url)
        path = parts.path.removeprefix(own.path.rstrip("/"))
        is_own = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
        if not is_own or not path.startswith(IMAGE_PATHS) or ".." in unquote(path):
            raise refused(address)
        return whole

    def _download(self, address: str, max_bytes: int) -> bytes:
        request = urllib.request.Request(address, headers=self._headers())
        content = read_response(request, max_bytes + 1)
        if len(content) > max_bytes:
            raise Problem("too-large", f"The image has more than {max_bytes:,} bytes.")
        return content

    def _headers(self) -> dict[str, str]:
        """Return what tells Label Studio who asks: its older tokens as they are, newer ones after a refresh."""
        if self.token is None:
            return {}
        if self.token.count(".") != NUM_PARTS_OF_PERSONAL_TOKEN - 1:
            return {"Authorization": f"Token {self.token}"}
        assert self.url is not None
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}{REFRESH_PATH}",
            data=json.dumps({"refresh": self.token}).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            access = json.loads(read_response(request, 100_000))["access"]
        except (ValueError, KeyError, TypeError):
            raise unreadable("its answer to the token is not understood") from None
        return {"Authorization": f"Bearer {access}"}


def read_response(request: urllib.request.Request, max_bytes: int) -> bytes:
    """Send a request to Label Studio and read at most so many bytes of the answer; `Problem` where that fails."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), RefusedRedirects)
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            content: bytes = answer.read(max_bytes)
            return content
    except urllib.error.HTTPError as error:
        error.close()
        raise unreadable(f"it answered with status {error.code}") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise unreadable(str(reason)) from None


def unreadable(reason: str) -> Problem:
    """Return the problem of an image that Label Studio does not give."""
    return Problem(
        "unreadable", f"Label Studio does not give the image: {reason}; see --label-studio-url and its token."
    )  # fmt: skip


def read_limited(path: Path, address: str, max_bytes: int) -> bytes:
    """Read a file; `Problem` if it is none, or too large."""
    if not path.is_file():
        raise Problem(
            "not-found", f"There is no file for {quoted_address(address)} in --label-studio-files."
        )
    if path.stat().st_size > max_bytes:
        raise Problem("too-large", f"The image has more than {max_bytes:,} bytes.")
    return path.read_bytes()


def refused(address: str) -> Problem:
    """Return the problem of an address that is not asked for."""
    return Problem(
        "invalid-request",
        f"The image {quoted_address(address)} is neither at --label-studio-url nor in --label-studio-files: not read.",
    )


def quoted_address(address: str) -> str:
    """Return an address as messages show it."""
    return repr(
        address
        if len(address) <= MAX_QUOTED_CHARACTERS
        else f"{address[:MAX_QUOTED_CHARACTERS]}..."
    )
