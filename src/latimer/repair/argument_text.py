"""The arguments of one tool call: fragments in, the text of one JSON object out, as early as it is certain.

Members go out one by one, and a string that may be a string goes out as it comes: what is long in a tool call is text.
All else waits for its end, which is soon, so that it can still become what the schema asks for. From the first byte
that is not JSON on, nothing goes out until the call has ended.

    OPENING --{--> KEY --"key":--> TEXT | VALUE --> KEY … --}--> CLOSED          BROKEN from anywhere but CLOSED
"""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import json

from latimer.wire.json_text import UNREADABLE, mend_surrogates

from .keys import EMPTY_IS_ABSENT, meant_by
from .malformed import Malformed, mend, unfenced
from .schema import Parameters

State = Literal["OPENING", "KEY", "TEXT", "VALUE", "CLOSED", "BROKEN"]

_S = r"[ \t\r\n]*"
_STRING = r'"(?:[^"\\\x00-\x1f]|\\.)*"'
_KEY = re.compile(rf"{_S}(?:,{_S})?({_STRING}){_S}:{_S}")
_KEY_BEGUN = re.compile(rf'{_S}(?:,{_S})?(?:"(?:[^"\\\x00-\x1f]|\\.)*(?:\\|"{_S}(?::{_S})?)?)?')
_END = re.compile(rf"{_S}}}")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*(?:\\["\\/bfnrt][^"\\\x00-\x1f]*)*')
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_ESCAPE_BEGUN = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_CLOSER = re.compile(rf'"(?={_S}(?:}}|,{_S}{_STRING}{_S}:))')
_CLOSER_BEGUN = re.compile(rf'"{_S}(?:,{_S}(?:"(?:[^"\\\x00-\x1f]|\\.)*(?:\\|"{_S})?)?)?')
_CLOSER_LAST = re.compile(rf'"{_S},?{_S}')
_WHOLE_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(r"[^\s,{}\[\]\"']+")
_NESTED = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^"{}\[\]]+', re.DOTALL)
_JUNK = re.compile(r"[\s}\]`;]*(?:</?\w+>)?\s*")
_PYTHON = {"True": "true", "False": "false", "None": "null", "NaN": "null"}
_CLOSERS = {"{": "}", "[": "]"}

LINE_BREAK = "a control character in a string was escaped"
ESCAPE = "an unknown escape in a string was escaped"
SYNTAX = "malformed JSON was mended"
CLOSED = "missing closing brackets were added"
UNWRAPPED = "arguments that were JSON in a string or a code fence were unwrapped"
WRAPPED = "a value without a name became the argument it can only be"
TYPE = "a value was brought to its schema's type"
DEFAULT = "a missing argument got its schema's default"
RENAMED = "an argument was given the name that its schema has for it"
ABSENT = "an empty optional argument was left out"
JUNK = "what stood behind the arguments was left out"


class ArgumentText:
    """`feed` and `finish` return what may be sent. `kinds`: which repairs there were, by their names above."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._state: State = "OPENING"
        self._text = ""  # from the member that is being read on
        self._at = 0  # how much of it has been sent or is done with
        self._out: list[str] = []
        self._key = ""
        self._key_end = 0
        self._scanned = 0
        self._open: list[str] = []
        self._seen: set[str] = set()
        self._aside: list[tuple[str, str, Any]] = []
        self._any = False
        self.kinds: list[str] = []

    @property
    def live(self) -> bool:
        """Whether a string is being passed on as it comes."""
        return self._state == "TEXT"

    @property
    def whole(self) -> bool:
        """Whether the object is complete, or there never was one."""
        return not self._text.strip() if self._state in ("OPENING", "CLOSED") else False

    def feed(self, data: str) -> str:
        """What can be sent now."""
        if self._state == "TEXT" and self._at == len(self._text) and _PLAIN.fullmatch(data):
            self._text += data
            self._at = len(self._text)
            return data
        self._text += data
        while self._step():
            pass
        return self._taken()

    def finish(self) -> str:
        """What completes the object. Raises `Malformed`."""
        match self._state:
            case "OPENING":
                return self._other(self._text)
            case "CLOSED":
                self._drop_junk()
            case "BROKEN":
                self._mend_rest()
            case _:
                self._close_open()
        return self._taken()

    def rest(self) -> str:
        """What has not been sent, as it came: a call that was cut off stays as it is."""
        return self._taken() + self._text[self._at :]
