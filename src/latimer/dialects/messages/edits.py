"""Context edits: what `context_management` asks to be cleared is cleared before a request is translated.

https://docs.anthropic.com/en/docs/build-with-claude/context-editing. The client goes on sending its whole history, so
the same edits are done anew with every request, and nothing has to be remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Raw, Struct, json
from msgspec.structs import replace

from latimer.report import Action, Loss
from latimer.wire import messages as wire

from .admit import admit, block_type
from .request import AppliedEdit, Compact, Message, Request

CLEARED = "[Old tool result content cleared]"
COMPACTED_ABOVE = 150_000
"""Tokens of the prompt above which it is compacted where the edit has no trigger, as in the official SDK's type."""
ASKED = "cleared, as context_management asks"
_NOTHING = Raw(b"{}")
_LOADS_TOOLS = b'"tool_reference"'

Estimate = Callable[[bytes], int]
"""Tokens that some JSON takes in the prompt."""


class ToolUse(Struct, frozen=True):
    """A call that has its result, each with its message's place and its own."""

    call: tuple[int, int]
    result: tuple[int, int]


def apply_edits(request: Request, prompt_tokens: Callable[[], int], estimate: Estimate) -> tuple[Request, bytes]:
    """The request with its edits done and on record, and what was cleared, as JSON.

    `prompt_tokens` tells the whole prompt's size, for edits that wait for one. Raises `Rejection` for an edit whose
    fields have wrong values.
    """
    if not wire.given(request.body.context_management):
        return request, b""
    editor = Editor(request, prompt_tokens, estimate)
    management = admit(request.body.context_management, wire.ContextManagement, "context_management", editor.losses)
    for index, raw in enumerate(management.edits):
        editor.edit(raw, f"context_management.edits.{index}")
    pairs = zip(request.messages, editor.blocks, strict=True)
    messages = [replace(message, blocks=blocks) for message, blocks in pairs]
    edited = replace(request, messages=messages, losses=editor.losses, applied_edits=tuple(editor.applied))
    return replace(edited, compact=editor.compact), b"".join(editor.removed)


class Editor:
    """The blocks of a conversation while edits are done to them, one after the other."""

    def __init__(self, request: Request, prompt_tokens: Callable[[], int], estimate: Estimate) -> None:
        self.blocks = [list(message.blocks) for message in request.messages]
        self.losses = list(request.losses)
        self.applied: list[AppliedEdit] = []
        self.compact: Compact | None = None
        self.removed: list[bytes] = []
        self._messages: list[Message] = request.messages
        self._prompt_tokens = prompt_tokens
        self._cleared_tokens = 0
        self._estimate = estimate

    def edit(self, raw: Raw, path: str) -> None:
        """Do one edit; one that cannot be done is reported."""
        match block_type(raw):
            case "clear_thinking_20251015":
                self._clear_thinking(admit(raw, wire.ClearThinking, path, self.losses))
            case "clear_tool_uses_20250919":
                self._clear_tool_uses(admit(raw, wire.ClearToolUses, path, self.losses))
            case "compact_20260112":
                self._compact(admit(raw, wire.Compact, path, self.losses), path)
            case kind:
                self._lose(path, f"Latimer does not know the edit {kind!r}")

    def _compact(self, edit: wire.Compact, path: str) -> None:
        """Asking for the summary takes an upstream, so here it is only decided that one is due."""
        least = edit.trigger.value if edit.trigger else COMPACTED_ABOVE
        if self.compact is None and self._prompt_tokens() - self._cleared_tokens > least:
            self.compact = Compact(path, edit.instructions, edit.pause_after_compaction)
            self._lose(path, "the model itself sums up what came before", "emulated")

    def _clear_thinking(self, edit: wire.ClearThinking) -> None:
        keep = edit.keep
        if keep == "all" or keep.type == "all":
            return
        thoughts = list(self._thoughts())
        old = set(sorted({turn for turn, _, _ in thoughts})[: -keep.value])
        cleared = [json.encode(self._clear_thought(index, place)) for turn, index, place in thoughts if turn in old]
        if cleared:
            tokens = self._remove(cleared)
            self.applied.append(AppliedEdit("clear_thinking_20251015", tokens, cleared_thinking_turns=len(old)))

    def _thoughts(self) -> Iterator[tuple[int, int, int]]:
        """Every thinking block with its turn. Results do not end a turn: the model goes on with what it began."""
        turn = 0
        for index, blocks in enumerate(self.blocks):
            if self._messages[index].role == "user" and not any(isinstance(b, wire.ToolResultBlock) for b in blocks):
                turn += 1
            for place, block in enumerate(blocks):
                if isinstance(block, wire.ThinkingBlock | wire.RedactedThinkingBlock):
                    yield turn, index, place

    def _clear_thought(self, index: int, place: int) -> wire.RequestBlock:
        """An empty text keeps the place, so that paths in the report stay right; between texts it parts them."""
        blocks = self.blocks[index]
        thought = blocks[place]
        around = [*blocks[max(0, place - 1) : place], *blocks[place + 1 : place + 2]]
        parts = len(around) == 2 and all(isinstance(block, wire.TextBlock) for block in around)
        blocks[place] = wire.TextBlock("\n\n" if parts else "")
        self._lose(self._messages[index].path(place), ASKED, "emulated")
        return thought

    def _clear_tool_uses(self, edit: wire.ClearToolUses) -> None:
        uses = list(self._tool_uses())
        size = len(uses) if edit.trigger.type == "tool_uses" else self._prompt_tokens() - self._cleared_tokens
        if size <= edit.trigger.value:
            return
        excluded = frozenset(edit.exclude_tools or ())
        old = uses[: max(0, len(uses) - edit.keep.value)]
        chosen = [use for use in old if self._name(use) not in excluded and not self._stays(use)]
        contents = [json.encode(self._result(use).content) for use in chosen]
        emptied = [use for use in chosen if _named(edit.clear_tool_inputs, self._name(use))]
        contents += [bytes(self._call(use).input) for use in emptied]
        if not chosen or (edit.clear_at_least and self._estimate(b"".join(contents)) < edit.clear_at_least.value):
            return
        for use in chosen:
            self._clear_result(use)
        for use in emptied:
            self._clear_input(use)
        tokens = self._remove(contents)
        self.applied.append(AppliedEdit("clear_tool_uses_20250919", tokens, cleared_tool_uses=len(chosen)))

    def _tool_uses(self) -> Iterator[ToolUse]:
        """Calls with their results, oldest first; of calls with one id, each has its own."""
        waiting: list[tuple[str, tuple[int, int]]] = []
        for index, blocks in enumerate(self.blocks):
            for place, block in enumerate(blocks):
                if isinstance(block, wire.ToolUseBlock):
                    waiting.append((block.id, (index, place)))
                elif isinstance(block, wire.ToolResultBlock):
                    found = next((entry for entry in waiting if entry[0] == block.tool_use_id), None)
                    if found:
                        waiting.remove(found)
                        yield ToolUse(found[1], (index, place))

    def _call(self, use: ToolUse) -> wire.ToolUseBlock:
        block = self.blocks[use.call[0]][use.call[1]]
        assert isinstance(block, wire.ToolUseBlock)
        return block

    def _result(self, use: ToolUse) -> wire.ToolResultBlock:
        block = self.blocks[use.result[0]][use.result[1]]
        assert isinstance(block, wire.ToolResultBlock)
        return block

    def _name(self, use: ToolUse) -> str:
        return self._call(use).name

    def _stays(self, use: ToolUse) -> bool:
        """A result that brought tools in is where the tool list comes from; one that is cleared has nothing left."""
        content = self._result(use).content
        if isinstance(content, list):
            return any(_LOADS_TOOLS in bytes(part) for part in content)
        return content == CLEARED

    def _clear_result(self, use: ToolUse) -> None:
        index, place = use.result
        self.blocks[index][place] = replace(self._result(use), content=CLEARED)
        self._lose(f"{self._messages[index].path(place)}.content", ASKED, "emulated")

    def _clear_input(self, use: ToolUse) -> None:
        index, place = use.call
        self.blocks[index][place] = replace(self._call(use), input=_NOTHING)
        self._lose(f"{self._messages[index].path(place)}.input", ASKED, "emulated")

    def _remove(self, cleared: list[bytes]) -> int:
        self.removed += cleared
        tokens = self._estimate(b"".join(cleared))
        self._cleared_tokens += tokens
        return tokens

    def _lose(self, field: str, why: str, action: Action = "dropped") -> None:
        self.losses.append(Loss(field, action, why))


def _named(tools: bool | list[str] | None, name: str) -> bool:
    return tools if isinstance(tools, bool) else name in (tools or ())
