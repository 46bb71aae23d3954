"""The token by which a Ray knows who may use it: whoever reads it can run code there, as its owner."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import tempfile
from pathlib import Path

from genlab.errors import GenlabError

log = logging.getLogger(__name__)

SOURCES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")  # where Ray looks before it reads the file


def make_token() -> None:
    """Make the file from which Ray reads the token, `~/.ray/auth_token`, if there is none and a Ray that starts now
    would. Ray lets everybody read the one that it makes, and overwrites one that another start has just made.

    Raises:
        GenlabError: it cannot be made there.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token" or any(map(os.environ.get, SOURCES)):
        return
    file = _file()
    if file.exists():
        return
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix="auth_token-") as made:  # for its owner alone
            made.write(secrets.token_hex(32))
            made.flush()
            # whole or not at all. If another start was first, its token stays; without hard links Ray makes the file
            with contextlib.suppress(OSError):
                os.link(made.name, file)
    except OSError as error:
        raise GenlabError(
            f"{file}, the token by which Ray knows who may use it, cannot be made ({error.strerror}): set HOME to a "
            "folder of yours, or RAY_AUTH_TOKEN to a long random text"
        ) from None


def close_token() -> None:
    """Let nobody but its owner read that file. One of somebody else is left as it is, with a warning."""
    with contextlib.suppress(OSError, RuntimeError):  # there is none, or no way to it, or no home
        file = _file()
        if file.stat().st_mode & 0o077 and file.stat().st_uid == os.geteuid():
            with contextlib.suppress(PermissionError):  # some file systems know no permissions
                file.chmod(0o600)
        if file.stat().st_mode & 0o077:
            log.warning("others can read %s, and then run code in a Ray that takes this token: chmod 600 it", file)


def _file() -> Path:
    return Path.home() / ".ray" / "auth_token"
