"""The operating system's keyring, where `latimer init` puts a key that was pasted. Needs the `keyring` extra."""

from __future__ import annotations

import importlib
from typing import Any

from latimer.errors import LatimerError
from latimer.shell.secrets import KEYRING_SERVICE

INSTALL = "the library for it is not installed (pip install 'latimer[keyring]')"


def why_unusable() -> str:
    """Why no key can be stored, as the end of a sentence; '' when one can."""
    try:
        keyring: Any = importlib.import_module("keyring")
    except ImportError:
        return INSTALL
    try:
        backend = keyring.get_keyring()
        usable = backend.priority > 0
    except Exception as error:  # each backend raises its own
        return f"it does not work ({type(error).__name__})"
    return "" if usable else "this system has none that can be used"


def store(name: str, key: str) -> None:
    """Store a key under a name, in place of one that is there. Raises LatimerError, which does not hold the key."""
    keyring: Any = importlib.import_module("keyring")
    try:
        keyring.set_password(KEYRING_SERVICE, name, key)
        kept = keyring.get_password(KEYRING_SERVICE, name) == key
    except Exception as error:  # each backend raises its own
        raise LatimerError(f"the keyring did not take the key: {type(error).__name__}") from None
    if not kept:
        raise LatimerError("the keyring took the key, but does not give it back")


def stored(name: str) -> str | None:
    """The key of a name, None when there is none."""
    keyring: Any = importlib.import_module("keyring")
    try:
        found: str | None = keyring.get_password(KEYRING_SERVICE, name)
    except Exception:  # each backend raises its own; what cannot be read cannot be put back either
        return None
    return found


def put_back(name: str, before: str | None) -> None:
    """Undo `store`, as far as the keyring lets it be undone."""
    keyring: Any = importlib.import_module("keyring")
    try:
        if before is None:
            keyring.delete_password(KEYRING_SERVICE, name)
        else:
            keyring.set_password(KEYRING_SERVICE, name, before)
    except Exception:  # what failed already is the error to be told
        return
