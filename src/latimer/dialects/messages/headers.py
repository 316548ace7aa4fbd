"""The client's headers that mean something to an answer. None of them goes upstream."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from latimer.report import Loss

from .request import OLD_VERSION

VERSION = "anthropic-version"
BETA = "anthropic-beta"
SESSION = "x-claude-code-session-id"
AGENT = "x-claude-code-agent-id"
UNCARRIED = {
    "anthropic-user-profile-id": "the provider has no user profiles",
    "anthropic-workspace-id": "the provider has no workspaces",
}


class Headers(Struct, frozen=True):
    """What the headers ask for. Any beta is accepted: those that change nothing here change nothing.

    `session` and `agent` are Claude Code's conversation and the subagent in it. A provider gets their hash at most.
    """

    version: str = OLD_VERSION
    betas: frozenset[str] = frozenset()
    losses: tuple[Loss, ...] = ()
    session: str = ""
    agent: str = ""


def read_headers(given: Mapping[str, list[str]]) -> Headers:
    """`given` has lower-case names, and all values of a header that was repeated."""
    losses = [Loss(name, "dropped", why) for name, why in UNCARRIED.items() if name in given]
    if VERSION not in given:
        losses.append(Loss(VERSION, "approximated", f"the header is missing, read as {OLD_VERSION}"))
    betas = {beta.strip() for value in given.get(BETA, ()) for beta in value.split(",")}
    version, session, agent = (given.get(name, [""])[-1] for name in (VERSION, SESSION, AGENT))
    return Headers(version or OLD_VERSION, frozenset(betas - {""}), tuple(losses), session, agent)
