"""What `GET /status` tells of a server, and `latimer status` prints: no prompt, no key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from latimer import __version__
from latimer.policy.health import CircuitHealth, Health, ProviderHealth
from latimer.policy.routing import route_names
from latimer.shell.generation import Generation
from latimer.shell.http.accepting import ABSENT
from latimer.shell.instance import SERVICE, Identity, Record
from latimer.shell.reload import Taken


class Workers(Struct, frozen=True):
    """The processes behind the port, as one of them sees them."""

    slot: int = 0
    """Which one tells this."""
    connections: Sequence[int] = ()
    """How many each has."""


class Load(Struct, frozen=True):
    """What a server is busy with."""

    requests: int
    """Open ones, of all workers, but for the one that asks."""
    older: int
    """Those of them that end by a configuration before, of the worker that tells."""
    workers: Workers


class Reading(Struct, frozen=True):
    """The configuration in use."""

    source: str
    number: int
    since: float
    error: str = ""
    restart: Sequence[str] = ()


class Status(Struct, frozen=True):
    """The answer. Times are seconds since 1970; `destinations` are base URLs by the route's name."""

    service: str
    version: str
    instance: str
    pid: int
    started: float
    uptime_seconds: float
    config: Reading
    routes: Mapping[str, Sequence[str]]
    destinations: Mapping[str, str]
    open_requests: int
    older_requests: int
    workers: int
    """How many serve."""
    shutdown_seconds: float
    worker: int
    """The one that tells this: breakers and queues in `health` are each worker's own."""
    connections: Sequence[int | None]
    """Of each worker, None where it is being replaced."""
    health: Health


def describe(now: Generation, identity: Identity, taken: Taken, load: Load, time: float) -> Status:
    """The status at that time."""
    config = now.config
    connections = [None if count == ABSENT else count for count in load.workers.connections]
    return Status(
        service=SERVICE,
        version=__version__,
        instance=identity.id,
        pid=identity.pid,
        started=identity.started,
        uptime_seconds=round(time - identity.started, 3),
        config=Reading(config.source, taken.number, taken.since, taken.error, taken.restart),
        routes=config.routes,
        destinations={name: config.providers[name.partition("/")[0]].base_url for name in route_names(config)},
        open_requests=load.requests,
        older_requests=load.older,
        workers=sum(count is not None for count in connections) if connections else 1,
        shutdown_seconds=config.server.shutdown_seconds,
        worker=load.workers.slot,
        connections=connections,
        health=now.gateway.health(),
    )


def lines(status: Status, record: Record) -> Iterator[str]:
    """The status as people read it."""
    since = _duration(status.uptime_seconds)
    yield f"Latimer {status.version} is running at {record.url} (process {status.pid}, for {since})"
    config = status.config
    yield f"configuration: {record.config}" + (f", read {config.number} times" if config.number > 1 else "")
    if config.error:
        yield f"  its newest version is not in use: {config.error}"
    for name in config.restart:
        yield f"  {name} counts when Latimer is started again"
    width = max(map(len, status.routes))
    for key, chain in status.routes.items():
        yield f"  {key:<{width}}  {', then '.join(f'{name} at {status.destinations[name]}' for name in chain)}"
    older = f", {status.older_requests} of them by an older configuration" if status.older_requests else ""
    yield f"open requests: {status.open_requests}{older}"
    if status.connections:
        yield f"workers: {status.workers} of {len(status.connections)}; what follows is of worker {status.worker}"
    for provider in status.health.providers:
        yield _provider(provider)
        for circuit in provider.circuits:
            yield f"  {_circuit(circuit)}"
    if record.log:
        yield f"log: {record.log}"


def _provider(provider: ProviderHealth) -> str:
    queue = f", {provider.queued} queued" if provider.queued else ""
    limit = f" of {provider.max_concurrent}" if provider.max_concurrent else ""
    done = f"{provider.answered} answered, {provider.failed} failed"
    return f"{provider.name}: {done}, {provider.in_flight}{limit} under way{queue}"


def _circuit(circuit: CircuitHealth) -> str:
    what = " ".join(name for name in (circuit.model, circuit.key) if name) or "all of it"
    again = f", asked again in {circuit.seconds_left:.0f} s" if circuit.state == "open" else ""
    times = "1 failure" if circuit.failures == 1 else f"{circuit.failures} failures"
    return f"{what}: {circuit.state} after {times} ({circuit.reason}){again}"


def _duration(seconds: float) -> str:
    """As two units, the larger first: `3 d 4 h`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
