"""Start and stop what is measured, and read what it cost from /proc."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.client import Dialect

ROOT = Path(__file__).parent.parent
INSTALL_NGINX = "nginx is the yardstick and is not installed: apt-get install nginx-light"
_NGINX_CONF = """
daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/error.log; {user}
events {{ worker_connections 4096; }}
http {{
  access_log off; tcp_nodelay on; keepalive_timeout 600; keepalive_requests 1000000;
  client_max_body_size 64m; client_body_buffer_size 2m;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  upstream script {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://script; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600;
    }}
  }}
}}
"""


class StartError(Exception):
    """A process did not start; the message says why and what to do."""


@dataclass
class Process:
    """A running process tree that listens on `port`; `started` is seconds from exec to ready, `started_cpu` of CPU."""

    name: str
    dialect: Dialect
    popen: subprocess.Popen[str]
    port: int
    started: float = 0.0
    started_cpu: float = 0.0

    def __post_init__(self) -> None:
        self.started_cpu = self.cpu()

    def pids(self) -> list[int]:
        """The process and all its descendants."""
        found, queue = [], [self.popen.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    queue += map(int, task.read_text().split())
        return found

    def cpu(self) -> float:
        """User and system seconds of the tree so far.

        The kernel's per-process CPU clocks, which other processes may read, hold what /proc/PID/stat shows, in
        nanoseconds where /proc rounds to ticks of 10 ms: too coarse for a run whose whole cost is 0.2 s.
        """
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.pids())

    def resident(self) -> int:
        """Resident bytes of the tree; memory that its processes share is counted in each."""
        pattern = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)
        sizes = [pattern.search(Path(f"/proc/{pid}/status").read_text()) for pid in self.pids()]
        return sum(int(size[1]) * 1024 for size in sizes if size)

    def stop(self) -> None:
        """Ask the tree to end, and make it after 5 seconds."""
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(5)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        if self.popen.stdout:
            self.popen.stdout.close()


def _environment(home: Path) -> dict[str, str]:
    """A clean environment, so that the user's own configuration, proxies and keys play no part."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH", "VIRTUAL_ENV") if name in os.environ}
    return kept | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_STATE_HOME": str(home)}


def _spawn(command: list[str], home: Path) -> subprocess.Popen[str]:
    with (home / "stderr").open("w") as stderr:
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=_environment(home), cwd=ROOT
        )


def _first_line(process: subprocess.Popen[str], home: Path, name: str) -> str:
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise StartError(f"{name} ended before it was ready:\n{(home / 'stderr').read_text()[-2000:]}")
    return line


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[str], home: Path, name: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise StartError(f"{name} did not listen on port {port}:\n{(home / 'stderr').read_text()[-2000:]}")
        time.sleep(0.005)


def upstream(home: Path) -> Process:
    """The scripted upstream."""
    process = _spawn([sys.executable, "-m", "bench.upstream"], home)
    return Process("direct", "chat", process, int(_first_line(process, home, "the scripted upstream")))


def nginx(home: Path, upstream_port: int) -> Process:
    """nginx as it would be set up to pass a model's stream through: nothing buffered, connections kept."""
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if not found:
        raise StartError(INSTALL_NGINX)
    port = _free_port()
    user = "user root;" if os.geteuid() == 0 else ""  # else the worker could not reach the temporary directory
    conf = home / "nginx.conf"
    conf.write_text(_NGINX_CONF.format(home=home, port=port, upstream=upstream_port, user=user))
    began = time.perf_counter()
    process = _spawn([found, "-p", str(home), "-e", str(home / "error.log"), "-c", str(conf)], home)
    _wait_for(port, process, home, "nginx")
    return Process("nginx", "chat", process, port, time.perf_counter() - began)


def latimer(home: Path, upstream_port: int) -> Process:
    """Latimer as a user starts it, with no configuration file."""
    url = f"http://127.0.0.1:{upstream_port}/v1"
    command = [sys.executable, "-m", "latimer", "serve", "--upstream", url, "--model", "m", "--port", "0"]
    began = time.perf_counter()
    process = _spawn(command, home)
    line = _first_line(process, home, "latimer")
    started = time.perf_counter() - began
    ready = re.search(r"listening on http://127\.0\.0\.1:(\d+)", line)
    if not ready:
        process.kill()
        raise StartError(f"latimer's first line is not its ready line: {line!r}")
    return Process("latimer", "messages", process, int(ready[1]), started)


PROXIES = {"nginx": nginx, "latimer": latimer}  # a peer is one more entry: (home, upstream's port) -> Process


@contextlib.contextmanager
def running(names: list[str]) -> Iterator[dict[str, Process]]:
    """The upstream, under the name "direct", and the named proxies in front of it; all stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="latimer-bench-") as base, contextlib.ExitStack() as stack:
        homes = {name: Path(base) / name for name in ("direct", *names)}
        for home in homes.values():
            home.mkdir()
        direct = upstream(homes["direct"])
        stack.callback(direct.stop)
        processes = {"direct": direct}
        for name in names:
            processes[name] = PROXIES[name](homes[name], direct.port)
            stack.callback(processes[name].stop)
        yield processes
