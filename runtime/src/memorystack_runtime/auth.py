"""API keys: only their SHA-256 is on record, and a comparison takes as long for a wrong key as for a right one.

Knows: a file of `name:sha256` lines, read again when it changes. Must not know: routes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from memorystack_runtime.errors import Misconfigured

__all__ = ["ApiKeys", "OpenDoor", "door_of", "parse_keys"]

CHECK_SECONDS: Final = 1.0
_LINE: Final = re.compile(r"^(?:(?P<name>[^:\s]+):)?(?P<hash>[0-9a-f]{64})$")
_log = structlog.get_logger(__name__)


def parse_keys(text: str) -> dict[str, str]:
    """Hash -> name. Raises Misconfigured naming the line; its content is never repeated."""
    keys = {}
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        match = _LINE.match(entry)
        if match is None:
            msg = (
                f"API keys, line {number}: write name:hash, where hash is the key's SHA-256 in 64 lower-case hex digits "
                "(printf %s KEY | sha256sum)"
            )
            raise Misconfigured(msg)
        keys[match["hash"]] = match["name"] or f"key-{number}"
    if not keys:
        msg = "API keys: the file holds no key; add a line name:hash"
        raise Misconfigured(msg)
    return keys


class ApiKeys:
    """Who may enter."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._checked_at = clock()
        try:
            self._text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"MEMORYSTACK_API_KEYS_FILE: {path} cannot be read ({error}); mount the Secret with the keys there"
            raise Misconfigured(msg) from None
        self._keys = parse_keys(self._text)

    def admits(self, presented: str | None) -> bool:
        """Whether this key is on record; every record is compared, whatever matched before."""
        self._refresh()
        digest = hashlib.sha256((presented or "").encode("utf-8", "surrogateescape")).hexdigest()
        found = False
        for known in self._keys:
            found |= hmac.compare_digest(known, digest)
        return found and presented is not None

    def _refresh(self) -> None:
        """A changed Secret counts within a second or two; one that cannot be read leaves the last good keys."""
        now = self._clock()
        if now - self._checked_at < CHECK_SECONDS:
            return
        self._checked_at = now
        try:
            text = self._path.read_text()
            if text != self._text:
                self._keys, self._text = parse_keys(text), text
        except (OSError, UnicodeDecodeError, Misconfigured) as error:
            _log.error("api_keys_not_reloaded", why=str(error), remedy="the last good keys stay in force")


class OpenDoor:
    """`auth: {disabled: true}`: said, never silent."""

    def admits(self, presented: str | None) -> bool:
        """Everybody."""
        del presented
        return True


def door_of(path: Path | None, *, disabled: bool) -> ApiKeys | OpenDoor:
    """Exactly one of the two must be said. Raises Misconfigured."""
    if disabled and path is None:
        return OpenDoor()
    if path is not None and not disabled:
        return ApiKeys(path)
    msg = (
        "say who may use the API, by exactly one of MEMORYSTACK_API_KEYS_FILE (a file of name:sha256 lines) "
        "and MEMORYSTACK_AUTH_DISABLED=true"
    )
    raise Misconfigured(msg)
