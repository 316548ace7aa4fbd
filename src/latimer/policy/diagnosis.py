"""What `latimer doctor` says: one function for each thing it looks at, from facts to a diagnosis with its cure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from latimer.policy.config import Config, Provider, Server
from latimer.policy.knowledge import Finding, Knowledge, RouteKey
from latimer.policy.routing import Route

Level = Literal["ok", "note", "wrong"]

_MOST_NAMED = 5


class Diagnosis(Struct, frozen=True, omit_defaults=True):
    """One finding: where, what, and what to do about it ('' where there is nothing to do)."""

    level: Level
    where: str
    what: str
    cure: str = ""


def of_configuration(config: Config) -> Diagnosis:
    """A configuration that could be read."""
    counts = f"{_number(len(config.providers), 'provider')}, {_number(len(config.routes), 'route')}"
    return Diagnosis("ok", "configuration", f"{config.source}: {counts}")


def of_broken_configuration(problem: str) -> Diagnosis:
    """None could be read; the problem says what to write instead."""
    return Diagnosis("wrong", "configuration", problem, "mend it, or name another with --config FILE")


def of_key(provider: Provider, problem: str) -> Diagnosis:
    """Whether a provider's secrets can be resolved; `problem` is '' where they can. A secret itself is never here."""
    where = f"provider {provider.name}, key"
    if problem:
        return Diagnosis("wrong", where, problem, f"set what it names, or change api_key of providers.{provider.name}")
    if not provider.api_key:
        return Diagnosis("ok", where, "none is sent")
    return Diagnosis("ok", where, f"{provider.api_key} gives one")


def of_silence(provider: Provider, problem: str) -> Diagnosis:
    """An address that could not be reached."""
    what, cure = _parted(problem)
    cure = cure or f"check base_url of providers.{provider.name}, and whether its server runs"
    return Diagnosis("wrong", f"provider {provider.name}", what, cure)


def of_answer(provider: Provider, url: str, status: int) -> Diagnosis:
    """An address that answered the question for its models with this HTTP status."""
    where = f"provider {provider.name}"
    said = f"{url} answers {status}"
    if status == 200:
        return Diagnosis("ok", where, said)
    if status in (401, 403):
        source = provider.api_key or "none"
        return Diagnosis("wrong", where, f"{said}: the key is refused ({source})", "check the key at the provider")
    if status in (404, 405, 501):
        return Diagnosis("ok", where, f"{said}: it can be reached, but lists no models")
    if status == 429:
        return Diagnosis("note", where, f"{said}: too many requests", "wait, or check the plan at the provider")
    cure = f"try again; if it stays, check base_url of providers.{provider.name}"
    return Diagnosis("note" if status < 500 else "wrong", where, said, cure)


def of_model(route: Route, listed: Collection[str]) -> Diagnosis:
    """Whether a route's model is among those that its provider lists. A local server with one model serves any name."""
    where = f"route {route.name}"
    if route.model in listed:
        return Diagnosis("ok", where, "the provider lists the model")
    if len(listed) == 1:
        return Diagnosis("ok", where, f"the provider has one model, {next(iter(listed))}")
    close = difflib.get_close_matches(route.model, listed, _MOST_NAMED, 0.5)
    known = close or sorted(listed)[:_MOST_NAMED]
    return Diagnosis(
        "note",
        where,
        f"{route.model} is not among the {len(listed)} models that the provider lists",
        f"write one that it lists into [routes], such as {', '.join(known)}",
    )


def of_window(route: Route, told: int) -> Diagnosis:
    """The context window of a route's model: as the configuration says, as the upstream told (0: it did not)."""
    where = f"route {route.name}"
    window = route.profile.request.context_window or told
    if window:
        return Diagnosis("ok", where, f"context window of {window} tokens")
    what = "the context window is unknown, so Claude Code assumes 200000 tokens"
    return Diagnosis("note", where, what, "set context_window in a rule of its provider, or --context-window N")


def of_learned(knowledge: Knowledge, now: float) -> list[Diagnosis]:
    """What is kept of each route: its reason, source, age and end, and how to forget it."""
    found = sorted(knowledge.routes.items(), key=lambda entry: (entry[0].name, entry[0].base_url))
    return [_learned(key, finding, now) for key, findings in found for finding in findings]


def of_port(server: Server, free: bool, version: str) -> Diagnosis:
    """Whether the port is free, else which Latimer listens there ('': another program)."""
    where = f"port {server.port} on {server.host}"
    if server.port == 0:
        return Diagnosis("ok", "port", "any free one is taken")
    if free:
        return Diagnosis("ok", where, "free")
    if version:
        return Diagnosis("ok", where, f"Latimer {version} listens there")
    return Diagnosis("wrong", where, "another program listens there", "choose another with --port N")


def of_token(problem: str) -> Diagnosis:
    """The gateway's own token, which could not be resolved."""
    return Diagnosis("wrong", "server.token", problem, "set what it names")


def of_claude(program: str, version: str, problem: str) -> Diagnosis:
    """The Claude Code program, or why there is none."""
    if problem:
        return Diagnosis("wrong", "Claude Code", *_parted(problem))
    return Diagnosis("ok", "Claude Code", f"{version} at {program}")


def text(diagnoses: Sequence[Diagnosis]) -> str:
    """For the terminal: a line each, the cure below it, and what it comes to."""
    width = max(len(each.where) for each in diagnoses)
    lines = []
    for each in diagnoses:
        lines.append(f"{each.level:<5}  {each.where:<{width}}  {_indented(each.what, width + 9)}")
        if each.cure:
            lines.append(f"{'':<{width + 9}}-> {_indented(each.cure, width + 12)}")
    wrong = sum(each.level == "wrong" for each in diagnoses)
    lines.append("\nnothing is wrong" if not wrong else f"\n{_number(wrong, 'thing')} wrong")
    return "\n".join(lines)


def report(diagnoses: Sequence[Diagnosis]) -> Mapping[str, object]:
    """For programs: `ok`, and the diagnoses with `level`, `where`, `what` and, where there is one, `cure`."""
    rows = [
        {"level": each.level, "where": each.where, "what": each.what} | ({"cure": each.cure} if each.cure else {})
        for each in diagnoses
    ]
    return {"ok": not any(each.level == "wrong" for each in diagnoses), "findings": rows}


def described(finding: Finding, now: float) -> str:
    """A finding in words, with its source, its age and its end."""
    age, rest = _span(now - finding.learned_at), _span(finding.expires_at - now)
    return f"{finding.why} ({finding.source}, {age} ago, forgotten in {rest}; sets {', '.join(finding.fields)})"


def _learned(key: RouteKey, finding: Finding, now: float) -> Diagnosis:
    what = f"learned: {described(finding, now)}"
    return Diagnosis("note", f"route {key.name}", what, f"to learn it anew: latimer forget {key.name}")


def _parted(problem: str) -> tuple[str, str]:
    """Messages for users say what is wrong in their first sentence, and what to do in the rest."""
    what, _, cure = problem.partition(". ")
    return what, cure


def _span(seconds: float) -> str:
    for size, unit in ((24 * 3600, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return _number(round(seconds / size), unit)
    return _number(max(0, round(seconds)), "second")


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _indented(words: str, column: int) -> str:
    return words.replace("\n", "\n" + " " * column)
