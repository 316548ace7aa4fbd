"""Reasoning: the field it comes in, and what steers it.

An effort in a word that nobody has tells most: who checks the field refuses it, and often lists the words that are
taken. A switch is believed when reasoning comes or goes with it, or where unknown fields are refused.
"""

from __future__ import annotations

from typing import get_args

from msgspec.structs import replace

from latimer.policy.lessons import lesson
from latimer.profile import Effort, Profile, ReasoningControl, ReasoningRules

from .answers import Reply
from .questions import ODD_WORD, Body
from .talk import Asking, Talk

FIELDS: dict[ReasoningControl, str] = {
    "effort": "reasoning_effort",
    "effort_object": "reasoning.effort",
    "thinking_type": "thinking.type",
    "enable_thinking": "enable_thinking",
    "chat_template_kwargs": "chat_template_kwargs",
    "reasoning_enabled": "reasoning.enabled",
}
"""Each control and the field by which it is tried."""
Outcomes = dict[ReasoningControl, bool | None]
"""Whether a control was shown to be one; None where it stayed unclear."""
ALIASES: dict[ReasoningControl, ReasoningControl] = {"enable_thinking_and_effort": "enable_thinking"}


def reasoning(talk: Talk) -> Asking:
    """Where reasoning comes, and the first control that can be shown to be one. The profile's own is asked first."""
    if talk.reasoning:
        talk.note("reasoning", "yes", f"it comes in {talk.reasoning}")
    else:
        talk.note("reasoning", "unclear", "none came unasked")
    said = talk.profile.reasoning.control
    known = ALIASES.get(said, said)
    found: Outcomes = {}
    for control in sorted(FIELDS, key=lambda each: each != known):
        yield from _effort(talk, control, found) if control.startswith("effort") else _switch(talk, control, found)
        if found[control]:
            if control != known:
                talk.set("reasoning", "control", control, f"reasoning is steered by {FIELDS[control]}")
            return
    if found.get(known) is False:
        talk.set("reasoning", "control", "none", f"{FIELDS[known]} is refused")


def _effort(talk: Talk, control: ReasoningControl, found: Outcomes) -> Asking:
    found[control] = None
    capability = f"control by {FIELDS[control]}"
    reply = yield from talk.ask(capability, **_with_effort(control, ODD_WORD))
    if reply.verdict == "taken":
        # Taken where unknown fields are refused: known, if not looked at closely.
        found[control] = talk.strict or None
        talk.judge(capability, reply, shown=bool(talk.strict), unseen="taken, but so is a word that nobody has")
        return
    if reply.verdict != "refused":
        talk.judge(capability, reply)
        return
    efforts = _listed(talk.profile, control, reply)
    if efforts:
        found[control] = True
        words = ", ".join(dict.fromkeys(efforts.values()))
        talk.note(capability, "yes", f"it takes {words}", reply)
        talk.set("reasoning", "efforts", efforts, f"the efforts are {words}")
        return
    usual = yield from talk.ask(capability, **_with_effort(control, "low"))
    if usual.verdict in ("taken", "refused"):
        found[control] = usual.verdict == "taken"
    talk.judge(capability, usual, seen="it takes low, and refuses words that nobody has")


def _with_effort(control: ReasoningControl, word: str) -> Body:
    return {"reasoning_effort": word} if control == "effort" else {"reasoning": {"effort": word}}


def _listed(profile: Profile, control: ReasoningControl, reply: Reply) -> dict[Effort, str]:
    """The words that a refusal lists, as a map of Claude's; {} when it lists none."""
    own = ReasoningRules(control=control, efforts={word: word for word in get_args(Effort)})
    asked = replace(profile, reasoning=own)
    sent = frozenset({"reasoning_effort" if control == "effort" else "reasoning"})
    taught = lesson(400, reply.error.message, reply.error.param, sent, asked)
    if taught is None or taught[0].reasoning.efforts == own.efforts:
        return {}
    return taught[0].reasoning.efforts


def _switch(talk: Talk, control: ReasoningControl, found: Outcomes) -> Asking:
    """Off where reasoning comes by itself, on where it does not."""
    found[control] = None
    capability = f"control by {FIELDS[control]}"
    turn_on = not talk.reasoning
    fields: dict[ReasoningControl, Body] = {
        "thinking_type": {"thinking": {"type": "enabled" if turn_on else "disabled"}},
        "enable_thinking": {"enable_thinking": turn_on},
        "chat_template_kwargs": {"chat_template_kwargs": {talk.profile.reasoning.template_switch: turn_on}},
        "reasoning_enabled": {"reasoning": {"enabled": turn_on}},
    }
    reply = yield from talk.ask(capability, room=True, **fields[control])
    works = bool(reply.reasoning) == turn_on
    if reply.verdict == "taken":
        found[control] = works or talk.strict or None
    elif reply.verdict == "refused":
        found[control] = False
    word = "comes" if turn_on else "goes"
    talk.judge(
        capability,
        reply,
        shown=works or bool(talk.strict),
        seen=f"reasoning {word} with it" if works else "taken, where unknown fields are refused",
        unseen="taken, but nothing changes",
    )
