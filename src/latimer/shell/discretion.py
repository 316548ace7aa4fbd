"""Keeps values out of the log: what libraries say of exceptions quotes them, and they may be prompts or keys."""

from __future__ import annotations

import logging
import re
import traceback

_VALUES = re.compile(r"[<({\[\n]|: ")
"""Where asyncio begins to show tasks, handles and their arguments."""
OURS = "latimer"


def described(error: BaseException) -> str:
    """An exception without the values that it may quote: its type, and the places it came by."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}".rstrip()


class Discreet(logging.Filter):
    """Lets every record pass: an exception as its type and the places it came by, a library's warning as its first
    words. Latimer's own messages are written with that in mind and stay as they are.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Changes the record."""
        ours = record.name.partition(".")[0] == OURS
        if ours and not record.exc_info:
            return True
        message = record.getMessage()
        if not ours:
            message = _VALUES.split(message, maxsplit=1)[0].rstrip()
        if record.exc_info and record.exc_info[1] is not None:
            message = f"{message}: {described(record.exc_info[1])}"
        record.msg, record.args = message, None
        record.exc_info, record.exc_text = None, None
        return True
