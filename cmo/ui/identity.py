"""Who is asking, without a login: a signed cookie that names a guest and outlives the page.

The cookie holds a random name and its signature, nothing else; the name becomes the user id of the ledger. This module
refuses to know what guests may do.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from starlette.requests import cookie_parser

YEAR_SECONDS = 365 * 24 * 3600
"""How long a browser keeps the cookie."""

_VALUE = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})")


class Guests:
    """Issues and recognises guests. Cookies signed with another secret are not recognised."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"cmo guest cookie", hashlib.sha256)
        # Browsers share cookies between the ports of a host, so every library has a cookie of its own.
        self._cookie = f"cmo_guest_{hmac.digest(secret, b'cmo cookie name', hashlib.sha256).hex()[:8]}"

    def user_id(self, cookie_header: str) -> str | None:
        """The guest a request comes from, as "guest-" and 32 hexadecimal digits, or None."""
        match = _VALUE.fullmatch(cookie_parser(cookie_header).get(self._cookie, ""))
        if match is None or not hmac.compare_digest(self._signature(match[1]), match[2]):
            return None
        return f"guest-{match[1]}"

    def new_cookie(self, *, secure: bool) -> str:
        """The Set-Cookie header for a guest not seen before; `secure` keeps it off plain HTTP."""
        name = secrets.token_hex(16)
        attributes = f"Path=/; Max-Age={YEAR_SECONDS}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
        return f"{self._cookie}={name}.{self._signature(name)}; {attributes}"

    def _signature(self, name: str) -> str:
        return hmac.digest(self._key, name.encode(), hashlib.sha256).hex()


def kept_secret(file: Path) -> bytes:
    """The secret in `file`, which is made on first use and readable by its owner only.

    Raises:
        OSError: the file can neither be read nor made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(file)
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write(secrets.token_hex(32))
    return _read(file)


def _read(file: Path) -> bytes:
    secret = file.read_text(encoding="ascii").strip()
    if len(secret) < 32:
        raise OSError(f"{file} holds no secret: delete it, and a new one is made.")
    return secret.encode()
