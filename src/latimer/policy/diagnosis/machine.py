"""Rules on the port, background processes and this machine."""

from __future__ import annotations

from collections.abc import Iterator

from latimer.policy.config import is_loopback
from latimer.policy.diagnosis.checks import found
from latimer.policy.diagnosis.facts import Facts, RecordFacts
from latimer.policy.diagnosis.finding import Finding, quoted, setting

LEAST_FILES = 1024
"""Streams take two each, and workers and logs a few."""


def on_server(facts: Facts) -> Iterator[Finding]:
    """The port, who listens there, and what background processes left."""
    config = facts.config.config
    if config is None:
        return
    server, listener = config.server, facts.server.listener
    where = f"port {server.port} on {server.host}"
    if facts.server.problem:
        yield _unusable(facts, where)
        return
    if not listener.free and not listener.version:
        cure = f"write `port = {facts.server.spare_port}` under `[server]` of {facts.config.path}, or give `--port N`"
        yield found("port-taken", where, "another program listens there", cure)
    elif listener.version and listener.version != facts.version:
        what = f"Latimer {listener.version} listens there, and this is {facts.version}"
        yield found("server-version", where, what, "stop it, and start it anew with `latimer serve`")
    if not is_loopback(server.host):
        cure = f'write `host = "127.0.0.1"` under `[server]` of {facts.config.path}, or put a server with TLS in front'
        yield found("server-reachable", f"server.host {server.host}", "other machines can reach Latimer", cure)
    for record in facts.server.records:
        yield from _on_record(record, facts)


def _on_record(record: RecordFacts, facts: Facts) -> Iterator[Finding]:
    if not record.alive:
        what = f"it tells of a Latimer at {record.url}, which does not answer"
        yield found("record-stale", record.path, what, f"`rm {quoted(record.path)}`, or start it again")
    where = f"Latimer at {record.url}"
    if record.error:
        what = f"it goes on with an older configuration: {record.error}"
        yield found("server-outdated", where, what, f"mend {facts.config.path}; it is read again within seconds")
    elif record.restart:
        what = f"it was started with another {' and '.join(record.restart)}"
        yield found("server-outdated", where, what, "stop it, and start it anew with `latimer serve`")


def _unusable(facts: Facts, where: str) -> Finding:
    path = facts.config.path
    if facts.server.problem == "address":
        cure = f'write `host = "127.0.0.1"` under `[server]` of {path}'
        return found("port-unusable", where, "this machine has no such address", cure)
    cure = f"write `port = {facts.server.spare_port}` under `[server]` of {path}, or give `--port N`"
    return found("port-unusable", where, "this user may not listen there", cure)


def on_machine(facts: Facts) -> Iterator[Finding]:
    """Programs, packages, limits, encoding."""
    machine, config = facts.machine, facts.config.config
    if machine.latimers:
        what = f"beside {machine.program} there is {', '.join(machine.latimers)}"
        cure = f"`rm {quoted(machine.latimers[0])}`, or uninstall it in the way it was installed"
        yield found("latimer-several", "PATH", what, cure)
    if config is not None:
        for extra, needed_by in _needed(facts):
            if extra in machine.missing:
                what = f"{needed_by} needs a package that is not installed"
                yield found("extra-missing", needed_by, what, f"`pip install 'latimer[{extra}]'`")
    if 0 < machine.file_limit < LEAST_FILES:
        what = f"this user may have {machine.file_limit} files open at once, and each stream takes two"
        cure = "`ulimit -Hn 65536` as root before it starts, or LimitNOFILE=65536 in its service"
        yield found("file-limit", "open files", what, cure)
    if machine.encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "cp65001"):
        cure = "`chcp 65001`" if machine.windows else setting("LC_ALL", "C.UTF-8", machine.windows)
        yield found("encoding", "terminal", f"its encoding is {machine.encoding}, not UTF-8", cure)


def _needed(facts: Facts) -> Iterator[tuple[str, str]]:
    config = facts.config.config
    assert config is not None
    if config.web_search.backend == "duckduckgo":
        yield "search", "web_search.backend"
    if config.web_fetch.enabled:
        yield "fetch", "web_fetch.enabled"
