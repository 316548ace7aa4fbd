"""Listens between a client and Latimer: what passes is left as it is, and every report of losses is kept."""

import asyncio
import json
import threading
from typing import Any, Self

import aiohttp
from aiohttp import web


class Tap:
    """A relay on a loopback port in front of `target`; use it as a context manager."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.losses: list[dict[str, Any]] = []
        """What Latimer reported, in the order of the answers."""
        self.url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="tap", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "the tap did not start"
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._relay)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        async with aiohttp.ClientSession(auto_decompress=False) as self._client:
            self._ready.set()
            await self._stopping.wait()
            await runner.cleanup()

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        hop = {"host", "content-length", "transfer-encoding", "connection"}
        headers = {name: value for name, value in request.headers.items() if name.lower() not in hop}
        body = await request.read()
        async with self._client.request(
            request.method, self.target + request.path_qs, data=body, headers=headers
        ) as answer:
            self.losses += json.loads(answer.headers.get("latimer-report", "[]"))
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in hop}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
