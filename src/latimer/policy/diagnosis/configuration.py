"""Rules on the configuration, its keys, and the files that Latimer keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator

from latimer.policy.config import Config
from latimer.policy.diagnosis.checks import found
from latimer.policy.diagnosis.facts import Facts, FileFacts, KeyFacts, Smell
from latimer.policy.diagnosis.finding import Finding, listed, number, parted, quoted, setting
from latimer.policy.knowledge import Finding as Lesson
from latimer.policy.routing import TIERS, tier_route

EVERYDAY_TIERS = tuple(tier for tier in TIERS if tier != "fable")
"""Those that Claude Code asks for by itself."""

_MISTAKES = (
    ("no provider is configured", "config-missing"),
    ("must not hold the secret itself", "config-secret"),
    ("names no configured provider", "config-provider"),
    ("no model is routed", "config-no-route"),
    ("can be reached from other machines", "config-open"),
    ("this is not valid TOML", "config-syntax"),
    ("could not be read", "config-unreadable"),
    ("there is no such file", "config-unreadable"),
)
"""What stands in the reader's message, and the check that it belongs to."""
_LINE = re.compile(r"at line (\d+)")
_ADVISED = re.compile(r'add --model (?P<name>\S+?)/NAME|write (?P<reference>"env:\w+")|(?P<near>did you mean .+?\?)')
_SHAPES: dict[Smell, str] = {
    "quotes": "it begins or ends with a quotation mark, which belongs to the shell or file it was copied from",
    "scheme": "it begins with `Bearer`, which Latimer adds itself",
    "spaces": "there are spaces in it",
    "placeholder": "it looks like a placeholder of some instructions",
}


def on_configuration(facts: Facts) -> Iterator[Finding]:
    """The file as a whole."""
    config, path = facts.config.config, facts.config.path
    if config is None:
        yield _unread(facts)
        return
    unrouted = [tier for tier in EVERYDAY_TIERS if tier_route(config, tier) is None]
    if unrouted:
        first = next(iter(config.routes.values()))[0]
        cure = f'write `default = "{first}"` under `[routes]` of {path}'
        yield found("tier-unrouted", "routes", f"no route for {listed(unrouted)}", cure)
    yield from _switched_off(config, path)


def _unread(facts: Facts) -> Finding:
    path, error = facts.config.path, facts.config.error
    check = next((check for words, check in _MISTAKES if words in error), "config-invalid")
    what = error.removeprefix(f"{path}: ")
    return found(check, path, parted(what)[0] if check == "config-missing" else what, _advice(check, facts))


def _advice(check: str, facts: Facts) -> str:
    path, error = facts.config.path, facts.config.error
    advised = _ADVISED.search(error)
    if check == "config-missing":
        return "set one up with `latimer init`"
    if check == "config-unreadable" and "there is no such file" in error:
        return f"write it by `latimer init --config {quoted(path)}`, or name another by `--config FILE`"
    if check == "config-unreadable":
        return (
            f"make it a UTF-8 text file that you may read (`chmod 600 {quoted(path)}`), or name one by `--config FILE`"
        )
    if check == "config-syntax":
        line = _LINE.search(error)
        return f"mend line {line[1]} of {path}" if line else f"mend the end of {path}"
    if check == "config-secret" and advised:
        return f"put the key into that variable, write {advised['reference']} in its place, and get a new key"
    if check == "config-no-route" and advised:
        return f'write `default = "{advised["name"]}/NAME"` under `[routes]` of {path}, with the name of a model'
    if check == "config-open":
        return f'write `host = "127.0.0.1"` under `[server]` of {path}, or {setting("LATIMER_TOKEN", "TOKEN", False)}'
    if check in ("config-provider", "config-invalid") and advised and advised["near"]:
        return f"{advised['near'].removesuffix('?')}? Write it into {path}"
    return f"write what it says into {path}; `latimer config schema` has all keys"


def _switched_off(config: Config, path: str) -> Iterator[Finding]:
    if not config.web_search.backend:
        cure = f'write `backend = "duckduckgo"` under `[web_search]` of {path} (docs/web-tools.md has the others)'
        yield found("web-search-off", "web_search", "Claude Code's web search has no backend", cure)
    if not config.auto_mode.classifier:
        first = next(iter(config.routes.values()))[0]
        cure = f'write `classifier = "{first}"`, or a better judge, under `[auto_mode]` of {path} (docs/auto-mode.md)'
        yield found("auto-mode-off", "auto_mode", "no model reviews tool calls, so auto mode is not available", cure)


def on_keys(facts: Facts) -> Iterator[Finding]:
    """Each reference to a secret."""
    for key in facts.keys:
        found_one = _on_key(key, facts.machine.windows)
        if found_one:
            yield found_one
    for leak in facts.leaks:
        cure = f"`rm {quoted(leak.path)}`, and get a new key: whoever saw the file has this one"
        yield found("key-leaked", leak.path, f"the key of {leak.key_of} stands in it", cure)


def _on_key(key: KeyFacts, windows: bool) -> Finding | None:
    variable = key.unset or key.reference.removeprefix("env:").split("|")[0]
    anew = f"{setting(variable, 'KEY', windows)}, with the key itself, where Latimer is started"
    if key.path == "server.token" and key.problem:
        cure = anew.replace("the key itself", "the token") if key.reference.startswith("env:") else "mend what it names"
        return found("token-unset", key.path, key.problem, cure)
    if key.unset:
        return found("key-empty" if key.empty else "key-unset", key.path, key.problem, anew)
    if "gives no usable secret" in key.problem:
        cure = anew if key.reference.startswith("env:") else f"store the key itself, on one line, in {key.reference}"
        return found("key-unusable", key.path, key.problem, cure)
    if key.problem:
        return found("key-reference", key.path, key.problem, _reference_cure(key))
    if key.smells:
        what = f"{key.reference}: {'; '.join(_SHAPES[smell] for smell in key.smells)}"
        cure = (
            anew if key.reference.startswith("env:") else f"store the key itself, and nothing else, in {key.reference}"
        )
        return found("key-shape", key.path, what, cure)
    return None


def _reference_cure(key: KeyFacts) -> str:
    kind, _, rest = key.reference.partition(":")
    if "pip install" in key.problem:
        return "`pip install 'latimer[keyring]'`"
    if kind == "keyring":
        return f"`keyring set latimer {quoted(rest)}`, and give it the key"
    if kind == "file":
        return f"write the key into the file {rest}, alone and as text"
    return f"run the command of {key.path} by hand until it prints the key, and nothing else"


def smells(value: str) -> tuple[Smell, ...]:
    """What makes a secret look like none. The value goes nowhere."""
    text = value.strip()
    seen: list[Smell] = []
    if text[:1] in "\"'`" or text[-1:] in "\"'`":
        seen.append("quotes")
    if text.strip("\"'`").lower().startswith("bearer "):
        seen.append("scheme")
    elif " " in text:
        seen.append("spaces")
    if _PLACEHOLDER.search(text):
        seen.append("placeholder")
    return tuple(seen)


_PLACEHOLDER = re.compile(
    r"^<.*>$|^\{.*\}$|^\$|\.\.\.|…|x{6,}|\*{4,}|your[-_ ]?(api[-_ ]?)?(key|token)|^(api[-_ ]?)?key$|change[-_ ]?me"
    r"|^(todo|none|null|undefined|example|placeholder|secret|token)$|-here$",
    re.IGNORECASE,
)


def on_files(facts: Facts) -> Iterator[Finding]:
    """Modes, and the state folder."""
    for file in facts.files:
        if file.mode >= 0 and file.mode & 0o077:
            yield _open(file)
    config = facts.config.config
    if config is not None and config.server.prompt_log:
        log = config.server.prompt_log
        cure = f"when you are done, take `prompt_log` out of `[server]` of {facts.config.path}, and `rm {quoted(log)}`"
        yield found("prompts-logged", log, "all prompts and answers are written to it", cure)
    state = facts.state
    if state.problem:
        yield found("state-unusable", state.path, state.problem, _state_cure(facts))
    if state.learned:
        cure = f"`rm {quoted(state.learned)}`, or wait: the next start sets it aside"
        yield found("learned-unreadable", state.learned, state.learned_problem, cure)


def _open(file: FileFacts) -> Finding:
    others = "read and changed" if file.mode & 0o022 else "read"
    cure = f"`chmod {'700' if file.folder else '600'} {quoted(file.path)}`"
    what = f"mode {file.mode:03o}: it can be {others} by other users"
    if file.key_of:
        return found("key-file-open", file.path, f"{what}, with the key of {file.key_of}", cure)
    return found("file-open", file.path, what, cure)


def _state_cure(facts: Facts) -> str:
    state = facts.state
    if "not a folder" in state.problem:
        away = quoted(state.culprit)
        return f"`mv {away} {quoted(state.culprit + '.old')}`, or name another with `--state-dir FOLDER`"
    return f"`chmod u+rwx {quoted(state.culprit)}`, or name another with `--state-dir FOLDER`"


def on_learned(facts: Facts) -> Iterator[Finding]:
    """What is kept of each route: its reason, source, age and end, and how to forget it."""
    for key, lessons in sorted(facts.learned.routes.items(), key=lambda entry: (entry[0].name, entry[0].base_url)):
        for lesson in lessons:
            cure = f"nothing, if it is right; to learn it anew: `latimer forget {quoted(key.name)}`"
            yield found("learned", f"route {key.name}", described(lesson, facts.now), cure)


def described(lesson: Lesson, now: float) -> str:
    """What was learned in words, with its source, its age and its end."""
    age, rest = _span(now - lesson.learned_at), _span(lesson.expires_at - now)
    return f"{lesson.why} ({lesson.source}, {age} ago, forgotten in {rest}; sets {', '.join(lesson.fields)})"


def _span(seconds: float) -> str:
    for size, unit in ((24 * 3600, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return number(round(seconds / size), unit)
    return number(max(0, round(seconds)), "second")
