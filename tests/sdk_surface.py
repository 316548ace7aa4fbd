"""Everything that the newest official SDK lets a client ask: each field, block, literal, with a request that holds it.

Read from the SDK's own types, so that what a new release adds is found without anyone looking.
"""

import base64
import collections.abc
import json
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import anthropic.types.beta
import openai.types.chat
import pydantic
import typing_extensions
from anthropic.types import message_create_params as stable
from anthropic.types.beta import message_create_params as beta

from tests.scenarios import files

Build = Callable[[Any], dict[str, Any]]
"""A request that holds the value in its place."""

_HERE = "\0here\0"
MARK = "mark7000001z"
"""The value that a leaf is about; what must stand around it is `FILL`."""
FILL = "filling"
NUMBER = 7000001
PNG = base64.b64encode(files.png()).decode()
PDF = base64.b64encode(files.pdf(MARK)).decode()
EXAMPLES: dict[str, Any] = {
    "content.image.source.base64.data": PNG,
    "content.document.source.base64.data": PDF,
    "content.image.source.url.url": f"https://example.org/{MARK}.png",
    "content.document.source.url.url": f"https://example.org/{MARK}.pdf",
    "thinking.enabled.budget_tokens": 5000,
    "tools.*.allowed_domains": f"{MARK}.example",
    "tools.*.blocked_domains": f"{MARK}.example",
    "context_management.*.clear_thinking_20251015.keep.thinking_turns.value": 1,
    "context_management.*.clear_tool_uses_20250919.keep.value": 1,
    "context_management.*.clear_tool_uses_20250919.clear_at_least.value": 1,
    "context_management.*.clear_tool_uses_20250919.trigger.tool_uses.value": 1,
}
"""Values where any string or number would not do."""
ASSISTANT = ("thinking", "redacted_thinking", "tool_use", "server_tool_use", "fallback", "compaction", "mcp_")
HELLO = {"role": "user", "content": "hello"}


def _exchange(number: int) -> list[dict[str, Any]]:
    call = {"type": "tool_use", "id": f"toolu_{number}", "name": "Bash", "input": {"command": "ls"}}
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": "done " * 99}
    return [{"role": "assistant", "content": [thought, call]}, {"role": "user", "content": [result]}, HELLO]


_HISTORY = [HELLO, *(message for number in range(5) for message in _exchange(number))]
"""Enough for an edit of the context to have something to clear."""


class Leaf(NamedTuple):
    """One thing a client may send. `path` has types in place of indexes; `value` is a literal or a `<block>`.

    `body` is a request with it, at `where`; `bare` is the same request without it, None where that is none.
    """

    path: str
    value: str
    given: Any
    body: dict[str, Any]
    where: str
    bare: dict[str, Any] | None

    @property
    def name(self) -> str:
        return f"{self.path}={self.value}" if self.value else self.path


def request_leaves() -> dict[str, Leaf]:
    """By name; the stable types first, then what the beta types have beyond them."""
    walker = _Walker()
    for module in (stable, beta):
        for part in (module.MessageCreateParamsBase, module.MessageCreateParamsNonStreaming):
            walker.fields(part, "", _top, lambda: _top({}))
    return walker.found


def older_leaves() -> dict[str, Leaf]:
    """What older SDKs and Claude Code send beyond the newest SDK's types, and forms that these write otherwise."""
    schema = {"type": "json_schema", "schema": {"type": "object", "title": MARK}}
    safeguards = [{"type": "dangerous_tool_use", "classifier_context": {"v": 1}}]
    given: list[tuple[str, str, Any]] = [
        ("temperature", "", 0.123456),
        ("top_p", "", 0.123456),
        ("top_k", "", NUMBER),
        ("output_format", "", schema),
        ("safeguards", "", safeguards),
        ("stream", "true", True),
        ("fallbacks", "default", "default"),
    ]
    leaves = (Leaf(path, word, value, _top({path: value}), path, _top({})) for path, word, value in given)
    return {leaf.name: leaf for leaf in leaves}


def _top(fields: dict[str, Any]) -> dict[str, Any]:
    if "context_management" in fields:
        fields = {"messages": _HISTORY} | fields
    return {"model": "claude-sonnet-5-5", "max_tokens": 2048, "messages": [HELLO]} | fields


class _Walker:
    def __init__(self) -> None:
        self.found: dict[str, Leaf] = {}
        self._visited: set[tuple[Any, str]] = set()

    def add(self, path: str, value: str, given: Any, build: Build, bare: dict[str, Any] | None) -> None:
        given = json.loads(json.dumps(given).replace(FILL, MARK))
        body = build(given)
        where = _place(body, given, "") if isinstance(given, dict) else _place(build(_HERE), _HERE, "")
        assert where is not None, path
        if path == "context_management":
            bare = {name: field for name, field in body.items() if name != path}
        leaf = Leaf(path, value, given, body, where, bare)
        self.found.setdefault(leaf.name, leaf)

    def fields(self, kind: Any, path: str, build: Build, bare: Callable[[], dict[str, Any]]) -> None:
        """Every field of a TypedDict. `build` takes the whole dictionary."""
        if (kind, path) in self._visited:
            return
        self._visited.add((kind, path))
        least = minimal(kind, path)
        for name, hint in hints(kind).items():
            if name == "type":
                continue
            inner = f"{path}.{name}" if path else name
            without = None if name in least else build(least)
            self.value(hint, inner, lambda v, name=name: build(least | {name: v}), without)  # type: ignore[misc]

    def value(self, hint: Any, path: str, build: Build, bare: dict[str, Any] | None) -> None:
        choices = [kind for kind in members(hint) if kind is not type(None)]
        for kind in choices:
            origin = get_origin(kind)
            if typing_extensions.is_typeddict(kind):
                self.record(kind, path, build, bare, alone=len(choices) == 1)
            elif origin is Literal:
                for value in get_args(kind):
                    self.add(path, _word(value), value, build, bare)
            elif origin is dict or origin is collections.abc.Mapping:
                self.value(get_args(kind)[1], f"{path}.*", lambda v: build({"key": v}), build({}))
            elif get_args(kind):
                self.value(get_args(kind)[0], path, lambda v: build([v]), bare)
            elif kind is bool:
                for truth in (True, False):
                    self.add(path, _word(truth), truth, build, bare)
            elif kind in (str, int, float, object):
                self.add(path, "", example(kind, path), build, bare)

    def record(self, kind: Any, path: str, build: Build, bare: dict[str, Any] | None, *, alone: bool) -> None:
        """A TypedDict: a block or tool in its own right, a member of a union, or a plain object."""
        tag = tag_of(kind)
        if kind.__name__.endswith("BlockParam"):
            block = f"content.{tag}"
            put = _conversation if path == "messages.content" else build
            self.add(path, f"<{tag}>", minimal(kind, block), put, bare)
            self.add(block, "", minimal(kind, block), put, None)
            self.fields(kind, block, put, lambda: put(minimal(kind, block)))
        elif path.endswith(".definition"):
            self.add(path, f"<{tag}>", minimal(kind, f"tools.{tag}"), build, bare)
        elif path == "tools":
            self.add(f"tools.{tag}", "", minimal(kind, f"tools.{tag}"), build, bare)
            self.fields(kind, f"tools.{tag}", build, lambda: build({}))
        else:
            base = path if alone or not tag else f"{path}.{tag}"
            self.add(base, "", minimal(kind, base), _with_tools(build) if path == "tool_choice" else build, bare)
            self.fields(kind, base, _with_tools(build) if path == "tool_choice" else build, lambda: build({}))


def _with_tools(build: Build) -> Build:
    tool = {"name": MARK, "input_schema": {"type": "object"}}
    other = {"name": FILL, "input_schema": {"type": "object"}}
    return lambda value: build(value) | {"tools": [tool, other]}


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _place(value: Any, sought: Any, path: str) -> str | None:
    """Where the very object stands."""
    if value is sought:
        return path
    inner: Iterator[tuple[Any, Any]] = iter(())
    if isinstance(value, dict):
        inner = iter(value.items())
    elif isinstance(value, list):
        inner = iter(enumerate(value))
    for key, item in inner:
        if (found := _place(item, sought, f"{path}.{key}" if path else str(key))) is not None:
            return found
    return None


def _conversation(block: Any) -> dict[str, Any]:
    """A request whose history holds a block where a client would have it, in its whole exchange."""
    kind = block["type"] if isinstance(block, dict) else ""
    if kind == "tool_result":
        call = {"type": "tool_use", "id": block.get("tool_use_id"), "name": "Bash", "input": {}}
        return _top(
            {"messages": [HELLO, {"role": "assistant", "content": [call]}, {"role": "user", "content": [block]}]}
        )
    if kind in ("tool_addition", "tool_removal"):
        tool = {"name": MARK, "input_schema": {"type": "object"}}
        return _top({"tools": [tool], "messages": [HELLO, {"role": "system", "content": [block]}, HELLO]})
    if kind == "tool_use":
        result = {"type": "tool_result", "tool_use_id": block.get("id"), "content": "done"}
        return _top(
            {"messages": [HELLO, {"role": "assistant", "content": [block]}, {"role": "user", "content": [result]}]}
        )
    if kind.startswith(ASSISTANT) or kind.endswith("_tool_result"):
        return _top({"messages": [HELLO, {"role": "assistant", "content": [block]}, HELLO]})
    return _top({"messages": [{"role": "user", "content": [block]}]})


# --- types ----------------------------------------------------------------------------------------------------------


def hints(kind: Any) -> dict[str, Any]:
    if issubclass(kind, pydantic.BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return get_type_hints(kind, include_extras=True)


def members(hint: Any) -> list[Any]:
    """The members of a union, however it is written and wrapped."""
    wrappers = (typing_extensions.Required, typing_extensions.NotRequired, typing.Annotated)
    while get_origin(hint) in wrappers or isinstance(hint, typing_extensions.TypeAliasType):
        hint = hint.__value__ if isinstance(hint, typing_extensions.TypeAliasType) else get_args(hint)[0]
    if get_origin(hint) in (typing.Union, types.UnionType):
        return [kind for part in get_args(hint) for kind in members(part)]
    return [hint]


def tag_of(kind: Any) -> str:
    """The `type` of a TypedDict, '' without one."""
    for part in members(hints(kind).get("type", type(None))):
        if get_origin(part) is Literal:
            return str(get_args(part)[0])
    return ""


def minimal(kind: Any, path: str) -> dict[str, Any]:
    """The required fields only, and the type."""
    if not path:
        return {}
    least: dict[str, Any] = {"type": tag_of(kind)} if tag_of(kind) else {}
    for name, hint in hints(kind).items():
        if name != "type" and get_origin(hint) is typing_extensions.Required:
            least[name] = _any(hint, f"{path}.{name}")
    return least


def _any(hint: Any, path: str) -> Any:
    choices = members(hint)
    kind = choices[0]
    origin = get_origin(kind)
    if typing_extensions.is_typeddict(kind):
        return minimal(kind, f"{path}.{tag_of(kind)}" if len(choices) > 1 and tag_of(kind) else path)
    if origin is Literal:
        return get_args(kind)[0]
    if origin is dict or origin is collections.abc.Mapping:
        return {}
    if get_args(kind):
        return [_any(get_args(kind)[0], path)]
    return True if kind is bool else example(kind, path, FILL)


def example(kind: Any, path: str, word: str = MARK) -> Any:
    """A value that can be found again."""
    parts = path.split(".")
    general = ".".join([parts[0], "*", *parts[2:]])
    given = EXAMPLES.get(path, EXAMPLES.get(general))
    if given is not None:
        return given
    return (NUMBER if word == MARK else 1) if kind is int else word


# --- answers --------------------------------------------------------------------------------------------------------


def answer_names() -> set[str]:
    """Everything that the SDK can read in an answer, whole or streamed, as `names_in` would call it."""
    found: set[str] = set()
    visited: set[tuple[Any, str]] = set()
    for package in (anthropic.types, anthropic.types.beta):
        prefix = "Beta" if package is anthropic.types.beta else ""
        for kind in (f"{prefix}Message", f"{prefix}RawMessageStreamEvent"):
            _read_names(getattr(package, kind), "message", found, visited)
    errors = anthropic.types.shared.error_type.ErrorType
    return found | {f"error.type={word}" for word in get_args(errors)} | {"error", "error.message", "error.details"}


def beta_names() -> set[str]:
    """The values of `anthropic-beta` that the SDK knows."""
    return {
        word for part in members(anthropic.types.anthropic_beta_param.AnthropicBetaParam) for word in get_args(part)
    }


def _read_names(hint: Any, path: str, found: set[str], visited: set[tuple[Any, str]]) -> None:
    if path.endswith(".definition"):
        return  # a tool, as requests have it
    for kind in members(hint):
        if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
            base = _base(path, tag_of(kind), kind.__name__)
            if (kind, base) in visited:
                continue
            visited.add((kind, base))
            found.add(base)
            for name, field in kind.model_fields.items():
                if name != "type":
                    found.add(f"{base}.{name}")
                    _read_names(field.annotation, f"{base}.{name}", found, visited)
        elif get_origin(kind) is Literal:
            found |= {f"{path}={word}" for word in get_args(kind)}
        elif get_args(kind) and get_origin(kind) is not dict:
            _read_names(get_args(kind)[0], path, found, visited)


def _base(path: str, tag: str, kind: str) -> str:
    """Blocks, deltas, events and usage have the same name wherever they stand."""
    if kind.endswith("Event"):
        return f"event.{tag}"
    if tag.endswith("_delta"):
        return f"delta.{tag}"
    if tag == "message":
        return "message" if kind.endswith("Message") else f"usage.iterations.{tag}"
    if path.rpartition(".")[2] == "usage":
        return "usage"
    if path.rpartition(".")[2] == "stop_details":
        return "stop_details"
    if path in ("message.content", "event.content_block_start.content_block"):
        return f"content.{tag}"
    return f"{path}.{tag}" if tag and not tag.startswith("message_") else path


def names_in(value: Any, path: str = "message") -> set[str]:
    """What stands in an answer, by the same names; what is null stands there for nothing."""
    if isinstance(value, list):
        return {name for inner in value for name in names_in(inner, path)}
    if not isinstance(value, dict):
        return {path, f"{path}={value}"} if isinstance(value, str) and len(value) < 50 else {path}
    tag = str(value.get("type", ""))
    event = path == "message" and tag not in ("", "message")
    whole = tag == "message" and not path.endswith(".iterations")
    base = _base(path, tag, f"{tag}Event" if event else "Message" if whole else "")
    found = {base}
    for name, inner in value.items():
        if name != "type" and inner is not None:
            found |= {f"{base}.{name}"} | names_in(inner, f"{base}.{name}")
    return found


# --- upstream's answers ---------------------------------------------------------------------------------------------


def upstream_leaves() -> dict[str, dict[str, Any]]:
    """Each field of a chat completion, with a whole answer that has it."""
    return leaves_of(openai.types.chat.ChatCompletion)


def leaves_of(answer: Any, closed: frozenset[str] = frozenset()) -> dict[str, dict[str, Any]]:
    """Each field of OpenAI's answers, with a partial answer that has it. Those at the top that are `closed` count as
    one each.
    """
    found: dict[str, dict[str, Any]] = {name: {name: {"key": True}} for name in closed & answer.model_fields.keys()}
    _upstream(answer, "", lambda value: value, found, closed)
    return found


def plain_answer() -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hello."}
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 40, "total_tokens": 90},
    }  # fmt: skip


def _upstream(
    kind: Any, path: str, build: Build, found: dict[str, dict[str, Any]], closed: frozenset[str] = frozenset()
) -> None:
    for name, field in kind.model_fields.items():
        if name in closed:
            continue
        inner = f"{path}.{name}" if path else name

        def put(value: Any, name: str = name) -> dict[str, Any]:
            return build({name: value})

        for part in members(field.annotation):
            _upstream_value(part, inner, put, found)


def _upstream_value(hint: Any, path: str, build: Build, found: dict[str, dict[str, Any]]) -> None:
    if isinstance(hint, type) and issubclass(hint, pydantic.BaseModel):
        tag = tag_of(hint)
        _upstream(hint, f"{path}.{tag}" if tag else path, lambda v: build(v | ({"type": tag} if tag else {})), found)
    elif get_origin(hint) is Literal:
        for word in get_args(hint):
            found.setdefault(f"{path}={word}", build(word))
    elif get_origin(hint) is dict:
        found.setdefault(path, build({"key": True}))
    elif get_args(hint):
        for part in members(get_args(hint)[0]):
            _upstream_value(part, path, lambda v: build([v]), found)
    elif hint is not type(None):
        word = json.dumps({MARK: 1}) if path.endswith(".arguments") else MARK
        found.setdefault(path, build(17 if hint is int else 0.5 if hint is float else hint is bool or word))
