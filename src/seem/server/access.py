"""Who may ask: the name in `Host`, the site in `Origin`, the token; and the headers of every answer."""

from __future__ import annotations

import base64
import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from seem.server.content_policy import CONTENT_SECURITY_POLICY
from seem.server.problems import Problem
from seem.server.settings import ServerSettings

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
LABEL_STUDIO_PATH = "/label-studio"
API_PATHS = ("/v1", "/metrics", LABEL_STUDIO_PATH)

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Sent with every answer. Opener and embedder policies let the page use threads in WebAssembly."""


def check_access(method: str, path: str, headers: Headers, settings: ServerSettings) -> None:
    """Raise `Problem` for a request that may not be answered."""
    check_host(headers.get("host", ""), settings)
    if method not in SAFE_METHODS:
        check_same_origin(headers, settings.allowed_hosts)
    if settings.token is not None and is_under(path, API_PATHS):
        authorization = headers.get("authorization", "")
        if is_under(path, (LABEL_STUDIO_PATH,)):
            authorization = bearer_of_basic(authorization)
        check_token(authorization, settings.token)


def is_under(path: str, tops: Sequence[str]) -> bool:
    """Tell whether a path is one of `tops` or below it."""
    return any(path == top or path.startswith(f"{top}/") for top in tops)


def check_host(host: str, settings: ServerSettings) -> None:
    """Raise `Problem` for a name that this server does not have.

    A site may point a name of its own at this machine (DNS rebinding); it cannot do so with numeric addresses.
    """
    name = host_name(host)
    if name in ("localhost", settings.host.lower(), *map(str.lower, settings.allowed_hosts)):
        return
    if is_address(name):
        return
    raise Problem(
        "host-not-allowed",
        f"This server does not go by {name[:100]!r}; allow it with seem serve --allow-host NAME.",
    )


def host_name(host: str) -> str:
    """Return the name in a `Host` header, without its port and in lower case; empty for one that is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Tell whether a host name is a numeric address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_same_origin(headers: Headers, allowed_hosts: Sequence[str]) -> None:
    """Raise `Problem` for a request that a browser sends from another site.

    A proxy in front of this server may change `Host`; the page's own site is then one of `allowed_hosts`.
    """
    origin = headers.get("origin")
    is_foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if origin is not None:
        site = origin.partition("://")[2].lower()
        is_own = site == headers.get("host", "").lower()
        is_foreign |= not (is_own or host_name(site) in map(str.lower, allowed_hosts))
    if is_foreign:
        raise Problem("cross-origin", "A page of another site may not use this server.")


def bearer_of_basic(authorization: str) -> str:
    """Return a header whose password is the token, which is all that Label Studio sends, as one that has the token."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return authorization
    try:
        _, _, password = base64.b64decode(encoded).decode().partition(":")
    except ValueError:
        return ""
    return f"Bearer {password}"


def check_token(authorization: str, token: str) -> None:
    """Raise `Problem` unless the header has the token."""
    scheme, _, given = authorization.partition(" ")
    is_bearer = scheme.lower() == "bearer"
    if not (is_bearer and hmac.compare_digest(given.strip().encode(), token.encode())):
        raise Problem(
            "unauthorized",
            "Send the header Authorization: Bearer TOKEN; seem serve prints the token at its start.",
            headers={"WWW-Authenticate": "Bearer"},
        )
