"""`latimer doctor`: gathers what `latimer.policy.diagnosis` judges. Nothing here changes anything."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from latimer import __version__
from latimer.policy.config import Config
from latimer.policy.diagnosis.facts import ConfigFacts, Facts
from latimer.policy.diagnosis.finding import Examination
from latimer.policy.diagnosis.rules import diagnose
from latimer.shell.doctor_client import read_client
from latimer.shell.doctor_machine import (
    each_key,
    find_leaks,
    read_files,
    read_keys,
    read_learned,
    read_machine,
    read_proxies,
    read_server,
    read_trust,
)
from latimer.shell.doctor_network import ask_for_real, ask_providers, known_routes


class Scope(Struct, frozen=True):
    """What may be done to find out: `claude` names the program, `log` is Latimer's log file where one is named.

    Without `network` no provider is asked anything; with `trial` each tier's first route gets a real request.
    """

    claude: str = ""
    log: str = ""
    network: bool = True
    trial: bool = False


async def examine(config: ConfigFacts, state: Path, scope: Scope) -> Examination:
    """Everything that can be said."""
    return diagnose(await gather(config, state, scope))


async def gather(config: ConfigFacts, state: Path, scope: Scope) -> Facts:
    """What the rules need to know. Keys and tokens are read here, and go no further."""
    environ = dict(os.environ)
    facts, token = await asyncio.to_thread(_of_this_machine, config, state, scope, environ)
    facts = replace(facts, client=await read_client(scope.claude, token, environ))
    return facts if config.config is None else await _with_network(facts, config.config, state, scope)


def _of_this_machine(config: ConfigFacts, state: Path, scope: Scope, environ: dict[str, str]) -> tuple[Facts, str]:
    """What needs no provider, and Latimer's own token."""
    keys, secrets = read_keys(config.config, environ) if config.config else ((), {})
    now = time.time()
    learned, kept = read_learned(state, now)
    facts = Facts(
        config,
        now,
        __version__,
        keys=keys,
        files=read_files(config.path, config.config, state, scope.log),
        leaks=find_leaks(secrets, state, scope.log),
        state=kept,
        learned=learned,
        proxies=read_proxies(environ),
        trust=read_trust(environ),
        no_proxy=environ.get("NO_PROXY") or environ.get("no_proxy", ""),
        machine=read_machine(environ),
    )
    if config.config is not None:
        facts = replace(facts, server=read_server(config.config.server, state))
    return facts, secrets.get("server.token", "")


async def _with_network(facts: Facts, config: Config, state: Path, scope: Scope) -> Facts:
    if not scope.network:
        return replace(facts, routes=known_routes(config, facts.learned))
    broken = {key.path for key in facts.keys if key.problem}
    usable = [
        (path, provider)
        for path, provider in each_key(config)
        if path not in broken
        and not any(f"providers.{provider.name}.headers.{name}" in broken for name in provider.headers)
    ]
    reached, routes = await ask_providers(config, usable, facts.learned)
    trials = await ask_for_real(config, state, facts.learned) if scope.trial else ()
    return replace(facts, reached=reached, routes=routes, trials=trials)
