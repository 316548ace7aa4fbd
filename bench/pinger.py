"""How long a proxy's loop is busy with something else: `python -m bench.pinger PORT PATH` asks for PATH every 2 ms.

It prints a line when it has begun and runs until its standard input is closed, then prints the seconds of the slowest
answer and of the 99th percentile as JSON. A small answer that a proxy gives by itself is late by as long as its loop
was stalled.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

from bench.client import LENGTH

INTERVAL = 0.002  # seconds between two questions


def ping(port: int, path: str) -> list[float]:
    """Ask until standard input ends; the seconds that each answer took. Raises SystemExit if one is not a 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    taken: list[float] = []
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print("begun", flush=True)
        while not taken or not select.select([sys.stdin], [], [], INTERVAL)[0]:
            began = time.perf_counter()
            connection.sendall(request)
            answer = _answer(connection)
            taken.append(time.perf_counter() - began)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"bench.pinger: {answer[:200]!r}")
    return taken


def _answer(connection: socket.socket) -> bytes:
    """One answer that says how long it is; some servers send the head and the body in two segments."""
    seen = b""
    while more := connection.recv(65536):
        seen += more
        head, found, body = seen.partition(b"\r\n\r\n")
        length = LENGTH.search(head + b"\r\n")
        if found and (not length or len(body) >= int(length[1])):
            break
    return seen


if __name__ == "__main__":
    answers = sorted(ping(int(sys.argv[1]), sys.argv[2]))
    print(json.dumps({"worst": answers[-1], "p99": answers[len(answers) * 99 // 100], "count": len(answers)}))
