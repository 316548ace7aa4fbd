"""`latimer probe`: ask upstreams what they can do, and keep the answers."""

# Imports inside the command are the point of this module.
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latimer.errors import LatimerError, Rejection

from .completion import complete_route
from .options import (
    API_KEY_ENV,
    AS_JSON,
    CONFIG,
    DIALECT,
    MODEL,
    STATE_DIR,
    UPSTREAM,
    as_json,
    in_loop,
    load,
    log_to,
    option,
    options,
    state_directory,
    table,
)
from .terminal import progress, shows_progress

if TYPE_CHECKING:
    from latimer.policy.config import Config
    from latimer.policy.presets import Overlay
    from latimer.policy.probing.interview import Budget
    from latimer.policy.probing.questions import Question
    from latimer.policy.routing import Route
    from latimer.shell.probe import Known, Probed
    from latimer.shell.state import Store
    from latimer.shell.upstream import UpstreamClient

    Outcome = Probed | Rejection

YES = option("--yes", "Do not ask before requests are sent.", is_flag=True)
BUDGET = option(
    "--budget",
    "The most requests for one model.",
    type=click.IntRange(min=1),
    default=48,
    show_default=True,
    metavar="N",
)


@click.command("probe", short_help="Ask a provider what its models can do.")
@click.argument("route", default="", metavar="[ROUTE]", shell_complete=complete_route)
@options(CONFIG, UPSTREAM, MODEL, DIALECT, API_KEY_ENV, BUDGET, YES, STATE_DIR, AS_JSON)
def probe(
    route: str, config: Path | None, budget: int, yes: bool, state_dir: Path | None, json: bool, **said: Any
) -> int:
    """Ask a provider what a model of its can do, keep the answers, and show them.

    ROUTE is provider/model, a tier, or another id of [routes]; without it, every routed model is asked. Before
    requests are sent, the most that they can take is shown. What is found counts from then on, below your own rules.
    """
    from latimer.shell.state import Store

    # What fails is told below, in one sentence and not twice.
    log_to(Path(os.devnull), "error")
    store = Store(state_directory(state_dir))
    outcomes = in_loop(_probe, load(config, said), store, route, budget, yes)
    found = {name: outcome for name, (outcome, _) in outcomes.items()}
    if json:
        click.echo(as_json({"routes": [_as_data(name, outcome) for name, outcome in found.items()]}))
    else:
        for name, outcome in found.items():
            _show(name, outcome)
    if unkept := next((why for _, why in outcomes.values() if why), ""):
        raise LatimerError(f"what was found is not kept: {store.path} could not be written: {unkept}")
    return 1 if any(isinstance(outcome, Rejection) for outcome in found.values()) else 0


async def _probe(settings: Config, store: Store, named: str, most: int, yes: bool) -> dict[str, tuple[Outcome, str]]:
    """By a route's name what was found, and why it is not kept, '' where it is."""
    import asyncio

    from latimer.policy.probing.interview import budget
    from latimer.shell.upstream import UpstreamClient

    learned = await asyncio.to_thread(_learned, store, settings)
    client = UpstreamClient(settings.server, os.environ)
    try:
        limit = budget(most)
        plan = await _plan(client, _routes(settings, named, learned), learned, limit)
        _state(plan, limit)
        _permit([route for route, _ in plan], yes)
        return {route.name: await _outcome(client, store, route, known) for route, known in plan}
    finally:
        await client.close()


def _learned(store: Store, settings: Config) -> dict[str, Overlay]:
    from latimer.policy.knowledge import overlays
    from latimer.shell.probe import unprobed

    return overlays(settings, unprobed(store.read()))


def _routes(settings: Config, named: str, learned: dict[str, Overlay]) -> list[Route]:
    """The route that is named, else all of them. Raises ConfigError for one that there is not."""
    from msgspec.structs import replace

    from latimer.errors import ConfigError
    from latimer.policy.routing import TIERS, route_names, routes_for

    if not named:
        return [routes_for(settings, name, learned)[0] for name in route_names(settings)]
    asked = settings
    if named != "default" and not any(tier in named.lower() for tier in TIERS):
        # Any id falls to the default, a slip of the pen too, and this one would be paid for.
        asked = replace(settings, routes={key: chain for key, chain in settings.routes.items() if key != "default"})
    try:
        return [routes_for(asked, named, learned)[0]]
    except Rejection:
        known = ", ".join([*settings.routes, *(f"{name}/MODEL" for name in settings.providers)])
        raise ConfigError(f"there is no route {named!r}. Known: {known}") from None


async def _plan(
    client: UpstreamClient, routes: Sequence[Route], learned: dict[str, Overlay], limit: Budget
) -> list[tuple[Route, Known]]:
    """Each route with what is known of it without a token spent."""
    from latimer.shell.models import ask_model
    from latimer.shell.probe import Known

    with progress("asking what the providers say of their models"):
        told = [await ask_model(client, route.provider, route.model) for route in routes]
    return [
        (route, Known(each, learned.get(route.name, {}), limit.requests))
        for route, each in zip(routes, told, strict=True)
    ]


def _state(plan: Sequence[tuple[Route, Known]], limit: Budget) -> None:
    """What it takes at most, before anything is spent."""
    for route, known in plan:
        text = (
            f"{route.name} at {route.provider.base_url}: at most {limit.requests} small requests, together at most "
            f"{limit.input_tokens:,} tokens of prompts and {limit.output_tokens:,} of answers"
        )
        own = route.profile.prices
        prices = own if own.input is not None else known.told.facts.prices
        if prices.input is not None and prices.output is not None:
            cost = (limit.input_tokens * prices.input + limit.output_tokens * prices.output) / 1e6
            text += f", which cost ${cost:.3f}"
        click.echo(text, err=True)


def _permit(routes: Sequence[Route], yes: bool) -> None:
    """Raises UsageError or Abort when it is not permitted to spend anything."""
    from urllib.parse import urlsplit

    from latimer.policy.config import is_loopback

    if yes:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm("Go on?", default=True, abort=True, err=True)
    elif not all(is_loopback(urlsplit(route.provider.base_url).hostname or "") for route in routes):
        raise click.UsageError("nobody is there to be asked, and this may cost money: add --yes (LATIMER_YES=1)")


async def _outcome(client: UpstreamClient, store: Store, route: Route, known: Known) -> tuple[Outcome, str]:
    import asyncio

    from latimer.shell.probe import keep, probe

    def heard(number: int, question: Question) -> None:
        if shows_progress():
            click.echo(f"\r\x1b[K{route.name}: {number}/{known.requests} {question.about}", nl=False, err=True)

    try:
        done = await probe(client, route, known, heard)
    except Rejection as rejection:
        return rejection, ""
    finally:
        if shows_progress():
            click.echo("\r\x1b[K", nl=False, err=True)
    try:
        await asyncio.to_thread(keep, store, route, done)
    except OSError as error:
        return done, error.strerror or str(error)
    return done, ""


def _as_data(name: str, outcome: Outcome) -> dict[str, Any]:
    import msgspec

    if isinstance(outcome, Rejection):
        return {"route": name, "error": outcome.failure.message}
    found = outcome.found
    return {
        "route": name,
        "requests": outcome.requests,
        "dialect": found.dialect,
        "results": msgspec.to_builtins(found.results),
        "overlay": msgspec.to_builtins(found.overlay),
        "reasons": list(found.reasons),
    }


def _show(name: str, outcome: Outcome) -> None:
    if isinstance(outcome, Rejection):
        click.echo(outcome.failure.message, err=True)
        return
    found = outcome.found
    click.echo(f"{name}, {outcome.requests} requests")
    rows = [
        (f"  {result.capability}", result.answer, result.evidence + _numbers(result.requests))
        for result in found.results
    ]
    for line in table(("  CAPABILITY", "ANSWER", "EVIDENCE [REQUEST]"), rows):
        click.echo(line)
    for reason in found.reasons or ("nothing that was not known",):
        click.echo(f"  kept: {reason}")


def _numbers(requests: Sequence[int]) -> str:
    return f" [{', '.join(map(str, requests))}]" if requests else ""
