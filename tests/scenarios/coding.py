"""The conversations a coding model has with Claude Code, as scripts for `tests.upstream`.

A script looks at the conversation to know where it is, as a model does: retries, fall-backs and new sessions then get
the right answer without any bookkeeping.
"""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.scenarios import messages_replies
from tests.scenarios.replies import Call, Say, Wire, overflow, rate_limited
from tests.scenarios.rules import MalformedError
from tests.upstream import Exchange, Reply, Script

CHINESE = "你好世界。这个回答在字符中间被切开😀。"
CARGO = "The cargo is forty-two violins"
PARTIAL = "This sentence will never"
SUMMARY = "They counted lorem ipsum."


def steps(*replies: Reply | Callable[[Exchange], Reply]) -> Script:
    """One reply for each round of tool calls that is in the conversation."""

    def script(exchange: Exchange) -> Reply:
        reply = replies[min(exchange.rounds, len(replies) - 1)]
        return reply(exchange) if callable(reply) else reply

    return script


def bash(command: str) -> Call:
    """A shell command."""
    return Call("Bash", {"command": command, "description": "Run a step"})


def failing_loop() -> Script:
    """Three commands one after the other; the second fails and the model must hear of it."""

    def last(exchange: Exchange) -> Say:
        return Say(f"The command in the middle said: {exchange.results[1]}")

    return steps(
        Say("I start.", calls=(bash("echo first > made.txt; cat made.txt"),)),
        Say(calls=(bash("echo broken >&2; exit 3"),)),
        Say("Once more.", calls=(bash("cat made.txt"),)),
        last,
    )


def parallel() -> Script:
    """Two commands in one turn."""
    return steps(
        Say("Both at once.", calls=(bash("echo alpha"), bash("echo beta"))),
        lambda exchange: Say(f"They said {' and '.join(result.strip() for result in exchange.results)}."),
    )


def reading(folder: Path) -> Script:
    """A picture and a PDF, each through the Read tool."""
    return steps(
        Say(calls=(Call("Read", {"file_path": str(folder / "red.png")}),)),
        Say(calls=(Call("Read", {"file_path": str(folder / "cargo.pdf")}),)),
        Say("I have seen both."),
    )


def working(folder: Path) -> Script:
    """A piece of work: two reads and a command at once, a picture among them; a failure; an edit; a last look.

    The model thinks before every turn, and speaks before some. The next question is answered without tools.
    """
    notes = str(folder / "notes.txt")
    edit = {"file_path": notes, "old_string": "forty-one", "new_string": "forty-two"}
    reads = (Call("Read", {"file_path": notes}), Call("Read", {"file_path": str(folder / "red.png")}))

    def last(exchange: Exchange) -> Say:
        if "thanks" in exchange.said("user")[-1]:
            return Say("You are welcome.", reasoning="They are polite.")
        return Say(f"In the end: {exchange.results[-1].strip()}", reasoning="All is done.")

    return steps(
        Say("I look first, für alle Fälle.", calls=(*reads, bash("echo alpha")), reasoning="Let me see 🤔."),
        Say(calls=(bash("echo broken >&2; exit 3"),), reasoning="Now it must fail."),
        Say("It failed. I edit.", calls=(Call("Edit", edit),), reasoning="The number is wrong."),
        Say(calls=(bash("cat notes.txt"),), reasoning="Did it work?"),
        last,
    )


def tool_search(wanted: str, arguments: dict[str, str]) -> Script:
    """Looks for a tool that is not on offer yet, then calls it."""
    return steps(
        Say(calls=(Call("ToolSearch", {"query": f"select:{wanted}"}),)),
        Say(calls=(Call(wanted, arguments),)),
        lambda exchange: Say(f"{wanted} answered: {exchange.results[-1]}"),
    )


THOUGHTS = ("I must look first, für alle Fälle 🤔.", "Now I know enough.", "A new question.")


def thinking() -> Script:
    """Thinks before it speaks, every time (see `refuse_lost_thoughts` for the other half)."""
    return refuse_lost_thoughts(
        steps(
            Say("Let me look.", calls=(bash("echo treasure"),), reasoning=THOUGHTS[0]),
            lambda exchange: Say(
                f"I found {exchange.results[-1].strip()}.",
                reasoning=THOUGHTS[2] if "again" in exchange.said("user")[-1] else THOUGHTS[1],
            ),
        )
    )


def refuse_lost_thoughts(script: Script) -> Script:
    """Refuses history whose assistant messages have lost their reasoning, in DeepSeek's words."""

    def strict(exchange: Exchange) -> Reply | Awaitable[Reply]:
        for index, turn in enumerate(exchange.turns):
            if turn.role == "assistant" and turn.reasoning not in THOUGHTS:
                complaint = f"Missing `reasoning_content` field in the assistant message at message index {index}"
                raise MalformedError(complaint, code="invalid_request_error")
        return script(exchange)

    return strict


def chinese(exchange: Exchange) -> Reply:
    """Every character beyond ASCII arrives in pieces."""
    return exchange.render(Say(CHINESE, piece=7)).sliced(1)


def limited_once(retry_after: str = "1") -> Script:
    """429, then an answer."""
    return first_then(lambda exchange: limited(exchange, retry_after), Say("Patience pays."))


def limited(exchange: Exchange, retry_after: str) -> Wire:
    """429, in the dialect's form."""
    if exchange.dialect != "messages":
        return rate_limited(retry_after)
    return messages_replies.failure(429, "rate_limit_error", "Slow down.", headers={"retry-after": retry_after})


def too_long(exchange: Exchange, tokens: int, maximum: int) -> Wire:
    """The context overflow, in the dialect's form."""
    if exchange.dialect != "messages":
        return overflow(tokens, maximum)
    message = f"prompt is too long: {tokens} tokens > {maximum} maximum"
    return messages_replies.failure(400, "invalid_request_error", message)


def first_then(first: Callable[[Exchange], Reply], then: Reply) -> Script:
    """One misfortune, then always the same answer."""
    return lambda exchange: first(exchange) if exchange.number == 0 else then


def dying() -> Script:
    """The connection dies in the middle of the first answer."""
    say = Say(f"{PARTIAL} end.", piece=6)
    return first_then(lambda exchange: exchange.render(say).cut(b"will"), Say("Back from the dead."))


def stopping_early() -> Script:
    """The first answer's body ends in good order, but without a finish reason."""
    say = Say(f"{PARTIAL} end.", piece=6)
    return first_then(lambda exchange: exchange.render(say).ended(b"will"), Say("Whole at last."))


def overflowing(room: int) -> Script:
    """A model whose window is the first request and `room` more tokens; it can summarise."""
    limit = 0

    def script(exchange: Exchange) -> Reply:
        nonlocal limit
        tokens = len(exchange.raw) // 4
        limit = limit or tokens + room
        if tokens > limit:
            return too_long(exchange, tokens, limit)
        if is_compaction(exchange):
            return Say(f"<analysis>short</analysis><summary>{SUMMARY}</summary>")
        turns = re.findall(r"turn (\d)", "\n".join(exchange.said("user")))
        return Say(f"Noted turn {turns[-1]}.")

    return script


def is_compaction(exchange: Exchange) -> bool:
    """Whether Claude Code asks for a summary of the conversation."""
    return "Respond with TEXT ONLY" in "\n".join(exchange.said("user")[-2:])
