"""Which stages an answer passes on its way to the client, and in which order."""

from __future__ import annotations

from latimer.dialects.context import Context
from latimer.dialects.effort import room_to_think
from latimer.dialects.messages.request import Request
from latimer.dialects.tools import hash_text, known_tools, upstream_name, visible_tools
from latimer.profile import Profile
from latimer.repair.arguments import Arguments
from latimer.repair.tools import Tools
from latimer.repair.written_calls import WrittenCalls
from latimer.stages import OneCall, Stage, StopSequences, Toolsets, VisibleLimit


def answer_stages(
    request: Request, profile: Profile, *, route: str, message_id: str, input_estimate: int
) -> list[Stage]:
    """Calls are found before they are counted, and counted before a dropped one can fail the answer."""
    tools = Tools(lambda: visible_tools(request, Context(route, profile, known_tools(request, []), [])), upstream_name)
    stages: list[Stage] = []
    if profile.tools.recover_text and may_call(request):
        stages.append(WrittenCalls(tools, lambda number: f"toolu_{hash_text(f'{message_id}.written.{number}', 24)}"))
    if request.one_call:
        stages.append(OneCall())
    if profile.tools.repair_arguments:
        stages.append(Arguments(tools, route))
    if request.body.stop_sequences:
        stages.append(StopSequences(request.body.stop_sequences, input_estimate))
    if request.members:
        stages.append(Toolsets(request.members))
    if room_to_think(request, profile):
        stages.append(VisibleLimit(request.body.max_tokens, input_estimate))
    return stages


def may_call(request: Request) -> bool:
    """Whether the model has tools and is free to call them."""
    return bool(request.tools) and not (request.tool_choice and request.tool_choice.type == "none")
