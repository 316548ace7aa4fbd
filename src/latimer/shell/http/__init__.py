"""HTTP/1.1 on asyncio protocols and httptools: bytes are handled in the callback that brings them, no task is woken."""
