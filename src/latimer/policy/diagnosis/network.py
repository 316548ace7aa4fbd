"""Rules on proxies, providers, their models, and a real request."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from latimer.policy.addresses import port_of
from latimer.policy.diagnosis.checks import found
from latimer.policy.diagnosis.facts import Facts, Failing, ReachFacts, RouteFacts, TrialFacts
from latimer.policy.diagnosis.finding import Finding, listed, parted, quoted, setting, unsetting

LEAST_WINDOW = 30_000
"""Claude Code's prompt and tools take 12,000 to 15,000 tokens, and it keeps 13,000 and an answer free."""
GOOD_WINDOW = 48_000
LEAST_OUTPUT = 4096
MOST_SKEW = 300.0
"""Seconds."""

_MOST_NAMED = 5


def on_proxies(facts: Facts) -> Iterator[Finding]:
    """The proxy variables that Latimer itself follows."""
    for proxy in facts.proxies:
        where = f"variable {proxy.variable}"
        windows = facts.machine.windows
        if proxy.problem:
            anew = setting(proxy.variable, "http://HOST:PORT", windows)
            cure = f"{unsetting([proxy.variable], windows)}, or {anew} with the proxy's own"
            yield found("proxy-invalid", where, f"{proxy.shown!r} is no proxy's URL: {proxy.problem}", cure)
        elif proxy.socks and "socks" in facts.machine.missing:
            cure = "`pip install 'latimer[socks]'`, or name an HTTP proxy in its place"
            yield found("proxy-socks", where, f"{proxy.shown} is a SOCKS proxy, and its package is not installed", cure)


def on_trust(facts: Facts) -> Iterator[Finding]:
    """SSL_CERT_FILE."""
    trust, windows = facts.trust, facts.machine.windows
    if trust.problem:
        cure = f"{unsetting(['SSL_CERT_FILE'], windows)}, or {setting('SSL_CERT_FILE', '/PATH/TO.pem', windows)}"
        yield found("trust-unusable", "variable SSL_CERT_FILE", f"{trust.file}: {trust.problem}", cure)


def on_providers(facts: Facts) -> Iterator[Finding]:
    """What came of asking each provider for its list of models."""
    for reach in facts.reached:
        if reach.failing:
            yield _unreached(reach, facts)
        elif reach.status:
            yield from _answered(reach, facts)
        if abs(reach.skew_seconds) > MOST_SKEW:
            minutes = round(abs(reach.skew_seconds) / 60)
            side = "ahead of" if reach.skew_seconds > 0 else "behind"
            what = f"this machine's clock is {minutes} minutes {side} {urlsplit(reach.url).hostname}'s"
            yield found("clock-skew", "clock", what, "set the clock; most systems do it by themselves over NTP")


def _unreached(reach: ReachFacts, facts: Facts) -> Finding:
    where = f"provider {reach.provider}"
    what = parted(reach.message)[0]
    host = urlsplit(reach.url).hostname or reach.url
    if reach.proxy and reach.failing in ("dns", "refused", "reset", "timeout", "other"):
        cure = f"check the proxy {reach.proxy}; to go past it: {_past_proxy(reach, host, facts)}"
        return found("proxy-unreachable", where, f"{what} (through the proxy {reach.proxy})", cure)
    check, advise = _FAILURES[reach.failing]
    return found(check, where, what, advise(reach, host, facts))


def _past_proxy(reach: ReachFacts, host: str, facts: Facts) -> str:
    config = facts.config.config
    if config is not None and config.providers[reach.provider].proxy:
        return f'write `proxy = "none"` under `[providers.{reach.provider}]` of {facts.config.path}'
    return setting("NO_PROXY", ",".join(filter(None, (facts.no_proxy, host))), facts.machine.windows)


def _of_base_url(reach: ReachFacts, _: str, facts: Facts) -> str:
    return f"mend `base_url` under `[providers.{reach.provider}]` of {facts.config.path}"


def _start(reach: ReachFacts, host: str, facts: Facts) -> str:
    port = port_of(urlsplit(reach.url))
    return f"start its server, so that it listens on port {port} of {host}; or {_of_base_url(reach, host, facts)}"


def _trust(reach: ReachFacts, host: str, facts: Facts) -> str:
    table = f"[providers.{reach.provider}]"
    node = facts.trust.node_file
    get = f"get the certificate of the authority that signs for {host} as a PEM file, and "
    return (
        f"{'NODE_EXTRA_CA_CERTS names a file that may have it: ' if node else get}"
        f'write `ca_file = "{node or "/PATH/TO.pem"}"` under `{table}` of {facts.config.path}; for all providers: '
        f"{setting('SSL_CERT_FILE', node or '/PATH/TO.pem', facts.machine.windows)}"
    )


def _renew(_reach: ReachFacts, host: str, _facts: Facts) -> str:
    return f"compare this machine's clock with another; if it is right, {host} has to renew its certificate"


def _rename(reach: ReachFacts, host: str, facts: Facts) -> str:
    return f"write a host that the certificate names, instead of {host}, into {_of_base_url(reach, host, facts)[5:]}"


def _no_tls(reach: ReachFacts, _host: str, facts: Facts) -> str:
    plain = f"http{reach.url.removeprefix('https').removesuffix('/models')}"
    table = f"[providers.{reach.provider}]"
    return f'if it speaks plain HTTP, write `base_url = "{plain}"` under `{table}` of {facts.config.path}'


def _setting(_reach: ReachFacts, _host: str, facts: Facts) -> str:
    return f"mend what it names, in {facts.config.path} or in the file"


_FAILURES: dict[Failing, tuple[str, Callable[[ReachFacts, str, Facts], str]]] = {
    "dns": ("provider-dns", _of_base_url),
    "refused": ("provider-refused", _start),
    "ca": ("tls-authority", _trust),
    "expired": ("tls-expired", _renew),
    "name": ("tls-name", _rename),
    "tls": ("tls-broken", _no_tls),
    "setting": ("provider-setting", _setting),
    "timeout": ("provider-silent", _start),
    "reset": ("provider-silent", _start),
    "other": ("provider-silent", _start),
}


def failing_tls(words: str) -> Failing:
    """What is wrong with a certificate, from OpenSSL's words."""
    lowered = words.lower()
    if "has expired" in lowered or "not yet valid" in lowered:
        return "expired"
    if "mismatch" in lowered or "doesn't match" in lowered or "is not valid for" in lowered:
        return "name"
    return "ca" if "certificate verify failed" in lowered or "self-signed" in lowered else "tls"


def _answered(reach: ReachFacts, facts: Facts) -> Iterator[Finding]:
    where, said = f"provider {reach.provider}", f"{reach.url} answers {reach.status}"
    if reach.status in (401, 403):
        source = next((key.reference for key in facts.keys if key.path == reach.key), "")
        cure = f"check the key at the provider, and put the right one where {source or 'api_key'} has it"
        if source.startswith("env:"):
            variable = source.removeprefix("env:").split("|")[0]
            cure = (
                f"check the key at the provider; {setting(variable, 'KEY', facts.machine.windows)} with the right one"
            )
        elif not source:
            cure = f'write `api_key = "env:NAME"` under `[providers.{reach.provider}]` of {facts.config.path}'
        yield found("provider-key", where, f"{said}: it refuses the key ({source or 'none is configured'})", cure)
    elif reach.better:
        cure = f'write `base_url = "{reach.better}"` under `[providers.{reach.provider}]` of {facts.config.path}'
        yield found("provider-path", where, f"{said}, and {reach.better}/models lists models", cure)
    elif reach.status == 429:
        yield found(
            "provider-limited", where, f"{said}: too many requests", "wait, or look at the plan at the provider"
        )
    elif reach.status >= 500 and reach.status != 501:
        cure = "try again; if it stays, look at the provider's status page or its server's log"
        yield found("provider-error", where, said, cure)


def on_models(facts: Facts) -> Iterator[Finding]:
    """What is known of each route's model."""
    lists = {reach.provider: reach.listed for reach in facts.reached if _has_told(reach)}
    for each in facts.routes:
        known = lists.get(each.route.provider.name)
        unlisted = list(_unlisted(each, known or frozenset(), facts.config.path))
        yield from unlisted
        if each.told.tools is False:
            what = "the provider says that the model takes no tools"
            yield found("model-no-tools", f"route {each.route.name}", what, _elsewhere(each, facts))
        if each.window or (known is not None and not unlisted):
            yield from _window(each, facts)
        if 0 < each.output < LEAST_OUTPUT:
            what = f"the model gives {each.output} tokens of answer at most"
            cure = f"{_rule(each, 'max_output', 8192, facts)} if it gives more; else {_elsewhere(each, facts)}"
            yield found("output-small", f"route {each.route.name}", what, cure)


def _has_told(reach: ReachFacts) -> bool:
    """Whether a provider had its say; many have no list of models, or tell nothing in it."""
    return reach.status in (200, 404, 405, 501) and not reach.better


def _unlisted(each: RouteFacts, known: frozenset[str], path: str) -> Iterator[Finding]:
    """A local server with one model serves any name."""
    model = each.route.model
    if model in known or len(known) < 2:
        return
    near = difflib.get_close_matches(model, known, _MOST_NAMED, 0.5) or sorted(known)[:_MOST_NAMED]
    what = f"{model} is not among the {len(known)} models that the provider lists"
    cure = f"write one that it lists in its place under `[routes]` of {path}, such as {listed(near)}"
    yield found("model-unlisted", f"route {each.route.name}", what, cure)


def _window(each: RouteFacts, facts: Facts) -> Iterator[Finding]:
    where, window = f"route {each.route.name}", each.window
    if not window:
        rule = _rule(each, "context_window", 131072, facts)
        yield found("window-unknown", where, "its context window is unknown", f"find it out, and {rule}")
        return
    if window >= GOOD_WINDOW:
        return
    check = "window-too-small" if window < LEAST_WINDOW else "window-small"
    what = f"a context window of {window} tokens, where Claude Code's own prompt and tools take about 15000"
    again = "start the model's server with a larger one (`llama-server -c 65536`, `OLLAMA_CONTEXT_LENGTH=65536`,"
    cure = f"{again} `vllm serve --max-model-len 65536`); or {_elsewhere(each, facts)}"
    if each.route.profile.request.context_window and not each.told.context_window:
        cure = f"if the model has more, {_rule(each, 'context_window', 65536, facts)}; else {cure}"
    yield found(check, where, what, cure)


def _rule(each: RouteFacts, key: str, value: int, facts: Facts) -> str:
    """The model's own number is not known here, so the value is an example."""
    table = f"[providers.{each.route.provider.name}.request]"
    return f"write `{key} = {value}`, or what it is, under `{table}` of {facts.config.path}"


def _elsewhere(each: RouteFacts, facts: Facts) -> str:
    return f"write another model than {each.route.name} under `[routes]` of {facts.config.path}"


def on_trials(facts: Facts) -> Iterator[Finding]:
    """Real requests."""
    for trial in facts.trials:
        yield from _on_trial(trial, facts)


def _on_trial(trial: TrialFacts, facts: Facts) -> Iterator[Finding]:
    where = f"route {trial.route}"
    if trial.problem:
        cure = f"mend what it names, and see with `latimer doctor --try`; else `latimer probe {quoted(trial.route)}`"
        yield found("try-failed", where, f"a real request failed: {trial.problem}", cure)
    elif not trial.called:
        why = "its answer was cut before" if trial.cut else "it wrote text"
        cure = f"try again; if it stays, write another model than {trial.route} under `[routes]` of {facts.config.path}"
        yield found("try-no-call", where, f"asked to call a tool, it did not: {why}", cure)
