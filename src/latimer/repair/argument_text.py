"""The arguments of one tool call: fragments in, the text of one JSON object out, as early as it is certain.

    OPENING --{--> KEY --"key":--> TEXT | VALUE --> KEY … --}--> CLOSED          BROKEN from anywhere in between

Members go out one by one, and a string that may be a string goes out as it comes: what is long in a tool call is text.
Other values wait for their end, which is near, so that they can still become what the schema asks for. From the first
byte that is not JSON, nothing more goes out until the call has ended.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import json

from latimer.wire.json_text import UNREADABLE, mend_surrogates, unparsed_input

from .keys import EMPTY_IS_ABSENT, may_mean, renames
from .malformed import Malformed, mend, unfenced
from .schema import Parameters

_S = r"[ \t\r\n]*"
_STRING = r'"(?:[^"\\\x00-\x1f]|\\.)*"'
_BEGUN_STRING = r'"(?:[^"\\\x00-\x1f]|\\.)*(?:\\|"'
_KEY = re.compile(rf"({_S},?{_S})({_STRING}){_S}:{_S}(?=[^ \t\r\n])")
_KEY_BEGUN = re.compile(rf"{_S},?{_S}(?:{_BEGUN_STRING}{_S}(?::{_S})?)?)?")
_END = re.compile(rf"({_S}),?({_S}}})")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*')
_ESCAPE_BEGUN = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_CLOSER = re.compile(rf'"(?={_S}(?:}}|,{_S}{_STRING}{_S}:))')
_CLOSER_BEGUN = re.compile(rf'"{_S}(?:,{_S}(?:{_BEGUN_STRING}{_S})?)?)?')
_CLOSER_LAST = re.compile(rf'"{_S},?{_S}')
_QUOTED = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_SCALAR = re.compile(r"[^\s,{}\[\]\"']+")
_NESTED = re.compile(r'["{}\[\]]|[^"{}\[\]]+')
_ODD = re.compile(r"[\x00-\x1f]|\\(?:u[0-9a-fA-F]{4}|[\"\\/bfnrt])|\\'|\\")
_JUNK = re.compile(r"[\s}\]`;]*(?:</?[^<>{}\"]+>)?\s*")
_WORDS = {"True": "true", "False": "false", "None": "null"}
_PAIRS = {"{": "}", "[": "]"}

CONTROL = "a control character in a string was escaped"
ESCAPE = "an unknown escape in a string was escaped"
SYNTAX = "malformed JSON was mended"
CLOSERS = "missing closing brackets were added"
UNWRAPPED = "arguments in a string or a code fence were unwrapped"
WRAPPED = "a value without a name became an argument"
TYPE = "a value was brought to its schema's type"
DEFAULT = "a missing argument got its schema's default"
RENAMED = "an argument got the name that its schema has for it"
ABSENT = "an empty optional argument was left out"
JUNK = "what stood behind the arguments was left out"

OPEN_STRING = Malformed("it ends inside a value")


class ArgumentText:
    """`feed` and `finish` return what may be sent. `kinds` says which repairs there were."""

    def __init__(self, parameters: Parameters) -> None:
        self.kinds: list[str] = []
        self._parameters = parameters
        self._state: Literal["OPENING", "KEY", "TEXT", "VALUE", "CLOSED", "BROKEN"] = "OPENING"
        self._pending = ""
        self._out: list[str] = []
        self._empty = True
        self._seen: set[str] = set()
        self._aside: list[tuple[str, Any, str]] = []
        self._count = 0
        # of the member that is being read
        self._lead = self._key = self._head = ""
        self._raw: list[str] = []
        self._sent: list[str] | None = None
        self._scanned = 0
        self._quoted = False
        """Whether what is scanned ends inside a string."""
        self._nesting: list[str] = []

    @property
    def whole(self) -> bool:
        """Whether the object is complete, or nothing came at all."""
        return self._state in ("OPENING", "CLOSED") and not self._pending.strip()

    def feed(self, data: str) -> str:
        """What can be sent now."""
        if self._state == "TEXT" and not self._pending and (_is_plain(data) or _PLAIN.fullmatch(data)):
            self._raw.append(data)
            if self._sent is not None:
                self._sent.append(data)
            return data
        self._pending += data
        while self._step():
            pass
        return self._taken()

    def finish(self) -> str:
        """What completes the object. Raises `Malformed`."""
        match self._state:
            case "OPENING":
                return self._other(self._pending)
            case "BROKEN":
                self._mend_rest()
            case "CLOSED":
                self._drop_junk()
            case "TEXT" if _CLOSER_LAST.fullmatch(self._pending):
                self._end_text()
                self._close_early()
            case "VALUE":
                self._end_value()
                self._close_early()
            case "KEY" if not self._pending.strip(" \t\r\n,"):
                self._close_early()
            case _:
                raise OPEN_STRING
        return self._taken()

    def rest(self) -> str:
        """What was not sent, as it came: a call that was cut off stays as it is, and so cannot be run.

        What no reader takes as the beginning of an object is told as the client tells it, or, once a beginning is sent,
        left out and noted.
        """
        opening = "{" if self._empty and self._state != "OPENING" else ""
        aside = "".join(f",{json.encode(key).decode()}:{raw}" for key, _, raw in self._aside)
        member = "" if self._sent is not None or self._state == "KEY" else "".join(self._raw)
        unsent = f"{opening}{aside}{member}{self._pending}"
        if self._state not in ("OPENING", "BROKEN") or not self._pending.strip():
            return self._taken() + unsent
        if self._empty:
            return json.encode(unparsed_input(unsent)).decode()
        self._note("what was malformed of a call that was cut off is left out")
        return self._taken()

    def _taken(self) -> str:
        out, self._out = "".join(self._out), []
        return out

    def _note(self, kind: str) -> None:
        if kind not in self.kinds:
            self.kinds.append(kind)

    # --- reading -----------------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Read on; whether there was progress."""
        match self._state:
            case "OPENING":
                return self._opening()
            case "KEY":
                return self._member_or_end()
            case "TEXT":
                return self._text()
            case "VALUE":
                return self._value()
            case _:
                return False

    def _opening(self) -> bool:
        text = self._pending.lstrip(" \t\r\n\ufeff")
        if not text.startswith("{"):
            return False
        self._state, self._pending = "KEY", text[1:]
        return True

    def _member_or_end(self) -> bool:
        if member := _KEY.match(self._pending):
            try:
                self._key = json.decode(member[2])
            except UNREADABLE:
                return self._broken()
            if ("," in member[1]) != bool(self._count):
                self._note(SYNTAX)
            self._count += 1
            self._lead, self._head = member[1], self._pending[member.start(2) : member.end()]
            self._raw, self._sent = [member[0]], None
            self._pending = self._pending[member.end() :]
            self._begin_value()
            return True
        if end := _END.match(self._pending):
            if "," in end[0]:
                self._note(SYNTAX)
            self._pending = self._pending[end.end() :]
            self._close(end[1] + end[2])
            return True
        if _KEY_BEGUN.fullmatch(self._pending):
            return False
        self._raw, self._sent = [], None
        return self._broken()

    def _begin_value(self) -> None:
        self._scanned, self._quoted, self._nesting = 0, False, []
        live = not self._set_aside() and self._key not in EMPTY_IS_ABSENT and self._parameters.takes_text(self._key)
        if not live or not self._pending.startswith('"'):
            self._state = "VALUE"
            return
        self._state, self._sent = "TEXT", []
        self._put(self._key, '"', lead=self._lead, head=self._head)
        self._raw.append('"')
        self._pending = self._pending[1:]

    def _set_aside(self) -> bool:
        """Whether the key may turn out to stand for another one."""
        known = self._parameters
        return bool(known.properties) and self._key not in known.properties and self._stands_for_another()

    def _stands_for_another(self) -> bool:
        return any(may_mean(self._key, key) for key in self._parameters.required if key not in self._seen)

    def _text(self) -> bool:
        pending = self._pending
        plain = _PLAIN.match(pending)
        if plain and plain.end():
            return self._say(plain[0], plain[0])
        if not pending:
            return False
        if pending[0] == '"':
            if _CLOSER.match(pending):
                self._end_text()
                return True
            return not _CLOSER_BEGUN.fullmatch(pending) and self._broken()
        if pending[0] != "\\":
            self._note(CONTROL)
            return self._say(pending[0], json.encode(pending[0]).decode()[1:-1])
        if _ESCAPE_BEGUN.fullmatch(pending):
            return False
        self._note(ESCAPE)
        return self._say("\\'", "'") if pending.startswith("\\'") else self._say("\\", "\\\\")

    def _say(self, raw: str, sent: str) -> bool:
        assert self._sent is not None
        self._raw.append(raw)
        self._sent.append(sent)
        self._out.append(sent)
        self._pending = self._pending[len(raw) :]
        return True

    def _end_text(self) -> None:
        self._out.append('"')
        self._pending = self._pending[1:]
        self._raw, self._sent, self._state = [], None, "KEY"

    def _value(self) -> bool:
        end = self._value_end()
        if not end:
            return end is not None and self._broken()
        raw, self._pending = self._pending[:end], self._pending[end:]
        return self._member(raw) or self._broken(raw)

    def _value_end(self) -> int | None:
        """Where the value ends; None while that is open, 0 if it is no value."""
        pending = self._pending
        if pending[0] == '"':
            self._scanned = self._scanned or 1
            return self._scanned if self._string_ends() else None
        if pending[0] in _PAIRS:
            return self._nested_end()
        scalar = _SCALAR.match(pending)
        if scalar is None:
            return 0
        return scalar.end() if scalar.end() < len(pending) else None

    def _nested_end(self) -> int | None:
        while not self._quoted or self._string_ends():
            token = _NESTED.match(self._pending, self._scanned)
            if token is None:
                return None
            self._scanned = token.end()
            self._quoted = token[0] == '"'
            if token[0] in _PAIRS:
                self._nesting.append(_PAIRS[token[0]])
            elif token[0] in ("}", "]"):
                if self._nesting.pop() != token[0]:
                    return 0
                if not self._nesting:
                    return self._scanned
        return None

    def _string_ends(self) -> bool:
        """Read on in a string, each character once however it comes; whether its end has come."""
        inside = _QUOTED.match(self._pending, self._scanned)
        assert inside is not None  # it matches nothing as well
        self._quoted = not self._pending.startswith('"', inside.end())
        self._scanned = inside.end() + (not self._quoted)
        return not self._quoted

    def _broken(self, unread: str = "") -> bool:
        self._state, self._pending = "BROKEN", unread + self._pending
        return False

    # --- members -----------------------------------------------------------------------------------------------------

    def _member(self, raw: str) -> bool:
        """Send the member whose value has been read, in the form its schema wants; False if it is no JSON."""
        try:
            value, text = _read(raw)
        except Malformed:
            return False
        if text != raw:
            self._note(SYNTAX)
        self._state = "KEY"
        if self._set_aside():
            self._aside.append((self._key, value, text))
        else:
            self._put_value(self._key, value, text, lead=self._lead, head=self._head)
        self._raw = []
        return True

    def _put_value(self, key: str, value: Any, text: str, *, lead: str = "", head: str = "") -> None:
        known = self._parameters
        fits = known.fits(key, value)
        optional = key in known.properties and key not in known.required
        if optional and value in ("", None) and (not fits or (value == "" and key in EMPTY_IS_ABSENT)):
            self._note(ABSENT)
            return
        if not fits:
            meant = text if known.takes_text(key) and value is not None else known.coerced(key, value)
            if known.fits(key, meant):
                self._note(TYPE)
                text = json.encode(meant).decode()
        self._put(key, text, lead=lead, head=head)

    def _put(self, key: str, text: str, *, lead: str = "", head: str = "") -> None:
        """Send a member. What parts it from the one before is as it came, unless that is not JSON here."""
        head = head or f"{json.encode(key).decode()}:"
        comma = "," in lead
        if self._empty:
            lead = "{" + lead.replace(",", "")
        elif not comma:
            lead = f",{lead}"
        self._empty = False
        self._seen.add(key)
        self._out.append(f"{lead}{head}{text}")

    def _close(self, end: str = "}") -> None:
        known = self._parameters
        missing = [key for key in known.required if key not in self._seen]
        targets = renames([key for key, _, _ in self._aside], missing)
        for key, value, text in self._aside:
            target = targets.get(key, key)
            if target != key and known.fits(target, known.coerced(target, value)):
                self._note(RENAMED)
                self._put_value(target, value, text)
            else:
                self._put(key, text)
        self._aside = []
        for key in missing:
            default = known.default(key)
            if key not in self._seen and default is not None:
                self._note(DEFAULT)
                self._put(key, json.encode(default[0]).decode())
        self._out.append("{" + end if self._empty else end)
        self._empty, self._state = False, "CLOSED"

    # --- the end -----------------------------------------------------------------------------------------------------

    def _close_early(self) -> None:
        self._note(CLOSERS)
        self._pending = ""
        self._close()

    def _end_value(self) -> None:
        """Complete a value whose closing brackets are missing. An open string stays open, and so may a number be."""
        pending = self._pending.rstrip(" \t\r\n,")
        read = self._scanned == len(self._pending) and not self._quoted
        if self._nesting and read and not pending[-1:].isdigit():
            pending += "".join(reversed(self._nesting))
        elif pending not in ("true", "false", "null", *_WORDS):
            raise OPEN_STRING
        if not self._member(pending):
            raise OPEN_STRING

    def _drop_junk(self) -> None:
        if not _JUNK.fullmatch(self._pending):
            raise Malformed("there is more behind it")
        if self._pending.strip():
            self._note(JUNK)

    def _mend_rest(self) -> None:
        """Complete an object that is not JSON from the current member on."""
        unread = "".join(self._raw) + self._pending
        text = "{" + unread.lstrip(" \t\r\n,").removesuffix("</tool_call>").rstrip(" \t\r\n`;")
        mended = mend(text)
        if not isinstance(mended, dict):
            raise Malformed("it is no object")
        known = self._parameters
        if known.properties and any(key not in known.properties and not self._means(key) for key in mended):
            raise Malformed("the schema does not know its arguments")
        self._note(SYNTAX)
        if self._sent is not None:
            self._complete_text(mended)
        for key, value in mended.items():
            self._key, self._lead, self._head = key, "", ""
            if not self._member(json.encode(value).decode()):
                raise Malformed("it is no object")
        self._close()

    def _means(self, key: str) -> bool:
        return any(may_mean(key, required) for required in self._parameters.required)

    def _complete_text(self, mended: dict[str, Any]) -> None:
        """What was sent of a string must be its beginning still."""
        sent = json.decode(mend_surrogates(f'"{"".join(self._sent or ())}"'.encode()))
        value = mended.pop(self._key, None)
        if not isinstance(value, str) or not value.startswith(sent):
            raise Malformed("it can be read in several ways")
        self._out.append(json.encode(value[len(sent) :]).decode()[1:])

    # --- what is no object -------------------------------------------------------------------------------------------

    def _other(self, text: str, depth: int = 0) -> str:
        """Arguments that do not begin as an object does."""
        bare = text.strip(" \t\r\n\ufeff")
        if bare in ("", "null", "None"):
            return self._object("{}")
        if bare.startswith("{"):
            return self._object(bare)
        if (inner := unfenced(bare)) != bare and depth < 3:
            self._note(UNWRAPPED)
            return self._other(inner, depth + 1)
        try:
            value = json.decode(mend_surrogates(bare.encode("utf-8", "replace")))
        except UNREADABLE as error:
            raise Malformed(str(error)) from error
        if isinstance(value, str) and depth < 3 and value.strip()[:1] in ("", "{", "`", '"'):
            self._note(UNWRAPPED)
            return self._other(value, depth + 1)
        self._note(WRAPPED)
        return self._object("{" + f"{json.encode(self._name_of(value)).decode()}:{json.encode(value).decode()}" + "}")

    def _name_of(self, value: Any) -> str:
        """The only required argument, if the value can be it."""
        known = self._parameters
        only = known.required[0] if len(known.required) == 1 else ""
        return only if only and known.fits(only, value) else "value"

    def _object(self, text: str) -> str:
        inner = ArgumentText(self._parameters)
        out = inner.feed(text) + inner.finish()
        for kind in inner.kinds:
            self._note(kind)
        return out


def _is_plain(data: str) -> bool:
    """Whether there is nothing to look at inside a string. True of most fragments, at a third of `_PLAIN`'s time."""
    return '"' not in data and "\\" not in data and data.isprintable()


def _read(raw: str) -> tuple[Any, str]:
    """A value and its JSON: the text itself, or what it must have meant. Raises `Malformed`."""
    for text in (raw, _WORDS.get(raw, raw), _ODD.sub(_tamed, raw) if raw.startswith('"') else raw):
        try:
            return json.decode(mend_surrogates(text.encode("utf-8", "replace"))), text
        except UNREADABLE:
            continue
    if raw[:1] not in _PAIRS:
        raise Malformed("it is no JSON")
    value = mend(raw)
    return value, json.encode(value).decode()


def _tamed(odd: re.Match[str]) -> str:
    """A control character or an unknown escape inside a string, as JSON has it."""
    text = odd[0]
    if text == "\\'":
        return "'"
    if text == "\\":
        return "\\\\"
    return text if text.startswith("\\") else json.encode(text).decode()[1:-1]
