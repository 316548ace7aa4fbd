"""All rules together: facts in, an examination out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from latimer.policy.diagnosis.checks import CHECKS, GROUPS, severity
from latimer.policy.diagnosis.client import on_program, on_settings
from latimer.policy.diagnosis.configuration import on_configuration, on_files, on_keys, on_learned
from latimer.policy.diagnosis.facts import Facts, TrialFacts
from latimer.policy.diagnosis.finding import SEVERITIES, Examination, Finding, Seen, listed, number
from latimer.policy.diagnosis.machine import on_machine, on_server
from latimer.policy.diagnosis.network import on_models, on_providers, on_proxies, on_trials, on_trust

RULES: tuple[Callable[[Facts], Iterable[Finding]], ...] = (
    on_configuration,
    on_keys,
    on_files,
    on_learned,
    on_proxies,
    on_trust,
    on_providers,
    on_models,
    on_trials,
    on_server,
    on_program,
    on_settings,
    on_machine,
)


def diagnose(facts: Facts) -> Examination:
    """What the rules find, by group, the worst first; and what is in order."""
    findings = [finding for rule in RULES for finding in rule(facts)]
    return Examination(tuple(sorted(findings, key=_order)), tuple(_seen(facts)))


def is_well(examination: Examination) -> bool:
    """Whether nothing is found that does not work."""
    return not any(severity(finding) == "error" for finding in examination.findings)


def _order(finding: Finding) -> tuple[int, int]:
    check = CHECKS[finding.id]
    return GROUPS.index(check.group), SEVERITIES.index(check.severity)


def _seen(facts: Facts) -> Iterator[Seen]:
    config = facts.config.config
    if config is not None:
        counts = f"{number(len(config.providers), 'provider')}, {number(len(config.routes), 'route')}"
        yield Seen("configuration", f"{facts.config.path}: {counts}")
    usable = [f"{key.path} ({key.reference})" for key in facts.keys if not key.problem and not key.smells]
    if usable:
        yield Seen("keys", listed(usable))
    for reach in facts.reached:
        if not reach.failing and not reach.better and reach.status and reach.status < 400:
            way = f", through the proxy {reach.proxy}" if reach.proxy else ""
            models = f", {number(len(reach.listed), 'model')}" if reach.listed else ""
            yield Seen(f"provider {reach.provider}", f"{reach.url} answers {reach.status}{models}{way}")
        elif reach.status in (404, 405, 501) and not reach.better:
            yield Seen(f"provider {reach.provider}", f"{reach.url} answers {reach.status}, so only `--try` can tell")
    for each in facts.routes:
        if each.window:
            yield Seen(f"route {each.route.name}", f"context window of {each.window} tokens")
    yield from (_tried(trial) for trial in facts.trials if not trial.problem)
    yield from _present(facts)


def _tried(trial: TrialFacts) -> Seen:
    price = "price unknown" if trial.cost is None else f"${trial.cost:.6f}"
    tokens = f"{trial.input_tokens} + {trial.output_tokens} tokens, {price}"
    return Seen(f"route {trial.route}", f"a real request was answered in {trial.seconds:.1f} s ({tokens})")


def _present(facts: Facts) -> Iterator[Seen]:
    """What runs and is installed."""
    config, server = facts.config.config, facts.server
    if config is not None and config.server.port and server.listener.free:
        yield Seen("server", f"port {config.server.port} on {config.server.host} is free")
    elif server.listener.version:
        instance = f" ({server.listener.instance})" if server.listener.instance else ""
        yield Seen("server", f"Latimer {server.listener.version} listens{instance}")
    if facts.client.version:
        yield Seen("Claude Code", f"{facts.client.version} at {facts.client.program}")
