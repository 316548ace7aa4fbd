"""A server at work: it begins to listen, takes newer configurations while it answers, and stops gracefully."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from msgspec.structs import replace

from latimer.errors import Failure
from latimer.policy.config import Config
from latimer.shell.generation import Generation
from latimer.shell.hop import new_id
from latimer.shell.http.serving import Listener, Response
from latimer.shell.instance import Identity, host_in_url
from latimer.shell.notify import READY, notify, reloading
from latimer.shell.reload import Source, Taken, needs_restart, reason, staying, watch
from latimer.shell.server import LatimerServer, Place, failure_response
from latimer.shell.signals import Signals

log = logging.getLogger(__name__)


class Service:
    """A server at work, whose configuration may be exchanged."""

    def __init__(self, server: LatimerServer, listener: Listener, state: Path | None) -> None:
        self.url = ""
        self._server = server
        self._listener = listener
        self._state = state
        self._first = server.config

    async def reload(self, load: Callable[[], Config], number: int = 0, tells: bool = True) -> str:
        """Answer by the configuration that `load` gives (in a thread) from the next request on. It is the `number`th
        since the start, or the next; with `tells`, the user is told of it.

        One that cannot be used changes nothing; returns why not, else ''.
        """
        before = self._server.taken
        try:
            config = await asyncio.to_thread(load)
            restart = needs_restart(self._first, config)
            config = staying(config, self._first.server)
            generation = await Generation.begin(config, self._state, tells, self._server.generation)
        except Exception as error:
            why = reason(error)
            log.error("the configuration stays as it was: %s", why)
            self.tell(replace(before, error=why))
            return why
        self._listener.limit = config.server.max_body_bytes
        generation.start(tells)
        self._server.use(generation)
        self.tell(Taken(number or before.number + 1, time.time(), restart=restart))
        if tells:
            log.info("the configuration is read again: %s", config.source)
            for name in restart:
                log.warning("%s of %s counts when Latimer is started again", name, config.source)
        return ""

    def tell(self, taken: Taken) -> None:
        """This is what `/status` tells of the configuration."""
        self._server.taken = taken


@asynccontextmanager
async def running(
    config: Config,
    state: Path | None = None,
    *,
    identity: Identity | None = None,
    source: Source | None = None,
    signals: Signals | None = None,
) -> AsyncIterator[str]:
    """Serve; yields the base URL, such as `http://127.0.0.1:4002`. Leaving stops gracefully.

    What is learned of upstreams is kept in the directory `state`; without one, only for as long as this runs. With a
    `source`, the configuration is read again when it changes or `signals` ask for it.

    Raises `ConfigError` when no provider has a usable key, OSError when the port is taken.
    """
    async with serving(config, state, identity=identity, signals=signals) as service:
        if source is None:
            yield service.url
            return

        async def reload() -> None:
            notify(reloading())
            await service.reload(source.load)
            notify(READY)

        watching = asyncio.create_task(watch(source.file, signals.reload if signals else asyncio.Event(), reload))
        try:
            yield service.url
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


@asynccontextmanager
async def serving(
    config: Config,
    state: Path | None = None,
    place: Place | None = None,
    *,
    identity: Identity | None = None,
    signals: Signals | None = None,
) -> AsyncIterator[Service]:
    """As `running`, but whoever runs it exchanges the configuration. With a `place`, this is one of several processes
    behind a port.
    """
    tells = place is None or place.first
    generation = await Generation.begin(config, state, tells)
    server = LatimerServer(generation, identity or Identity.new(), place)
    try:
        listener = Listener(server.handle, _not_http, config.server.max_body_bytes)
        service = Service(server, listener, state)
        try:
            service.url = await _listening(listener, config, place)
            try:
                generation.start(tells)
                gc.freeze()  # what lives from here to the end needs no more visits
                gc.enable()
                with place.shared.kept(place.slot, server.metrics) if place else nullcontext():
                    yield service
            finally:
                listener.stop_listening()
                await server.stop(server.config.server.shutdown_seconds, signals.hurry if signals else None)
        finally:
            listener.close()
    finally:
        await server.close()


async def _listening(listener: Listener, config: Config, place: Place | None) -> str:
    if place is None:
        return base_url(*await listener.listen(config.server.host, config.server.port))
    listener.listen_on(place.sockets, place.loads, place.slot)
    host, port, *_ = place.sockets[0].getsockname()
    return base_url(host, port)


def base_url(host: str, port: int) -> str:
    """What a client is told of an address, such as `http://127.0.0.1:4002`."""
    return f"http://{host_in_url(host)}:{port}"


def _not_http(status: int) -> Response:
    what = "this is not a valid HTTP request" if status == 400 else "the request's headers are too large"
    response = failure_response(Failure("invalid_request_error", what), new_id("req_"))
    return replace(response, status=status)
