"""`latimer init`: set up a provider, by questions on a terminal or by flags alone."""

# Imports inside functions keep `--help` and `env` fast.
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from latimer.errors import ConfigError, LatimerError, Rejection

from .completion import complete_preset
from .options import AS_JSON, FILE, as_json, default_path, in_loop, log_to, option, options, read_text
from .terminal import progress

if TYPE_CHECKING:
    from latimer.policy.config import Config
    from latimer.policy.presets import Preset
    from latimer.policy.setup import Choice

SHOWN_MODELS = 60
"""More than this are not listed; part of a name finds the others."""

CONFIG = option(
    "--config", "The file to write; by default config.toml in the user's folder.", type=FILE, metavar="FILE"
)
PROVIDER = option(
    "--provider",
    "A preset's name, or a name of your own beside --base-url.",
    default="",
    metavar="NAME",
    shell_complete=complete_preset,
)
BASE_URL = option("--base-url", "Base URL of the API, as its provider prints it.", default="", metavar="URL")
ADDRESS = option("--address", "One of the preset's addresses.", default="", metavar="NAME")
KEY_ENV = option("--api-key-env", "Variable that holds the key; only its name is written.", default="", metavar="VAR")
KEY_STDIN = option("--api-key-stdin", "Read the key from standard input, into the system's keyring.", is_flag=True)
MODEL = option("--model", "The model for whatever has none of its own.", default="", metavar="NAME")
TIERS = tuple(
    option(f"--{tier}", f"The model for Claude's tier {tier}.", default="", metavar="NAME")
    for tier in ("opus", "sonnet", "haiku")
)
NO_CHECK = option("--no-check", "Do not try the models.", is_flag=True)
YES = option("--yes", "Write without asking, over an existing file too.", is_flag=True)


class Said(Struct, frozen=True):
    """The flags."""

    provider: str
    base_url: str
    address: str
    api_key_env: str
    api_key_stdin: bool
    model: str
    opus: str
    sonnet: str
    haiku: str
    no_check: bool
    yes: bool

    @property
    def routes(self) -> dict[str, str]:
        """What the flags route."""
        said = {"default": self.model, "opus": self.opus, "sonnet": self.sonnet, "haiku": self.haiku}
        return {key: model for key, model in said.items() if model}


class Key(Struct, frozen=True):
    """A reference for the file, and the key itself where it was given; `keep`: it goes into the keyring."""

    reference: str = ""
    value: str = ""
    keep: bool = False


@click.command("init", short_help="Set up a provider.")
@options(CONFIG, PROVIDER, BASE_URL, ADDRESS, KEY_ENV, KEY_STDIN, MODEL, *TIERS, NO_CHECK, YES, AS_JSON)
def init(config: Path | None, json: bool, **flags: Any) -> int:
    """Set up a provider: choose it, give its key, choose its models, try them, write the configuration.

    On a terminal it asks for what the flags leave open; elsewhere it says which flags are missing. A key goes into the
    system's keyring or stays in a variable of yours; it never stands in the file.
    """
    # What fails is told below, in one sentence and not twice.
    log_to(Path(os.devnull), "error")
    said = Said(**flags)
    path = config or default_path()
    asks = sys.stdin.isatty() and sys.stderr.isatty() and not said.api_key_stdin
    if not asks:
        _require(said, path)
    before = read_text(path, required=False) or ""
    place, preset = _place(said, asks)
    key = _key(said, place, preset, asks)
    choice = _with_key(place, key)
    routes = said.routes if said.routes and (said.yes or not asks) else _models(said, before, choice, key, path)
    choice = _routed(choice, routes)
    after, settings = _text_with(before, choice, path)
    checked = {} if said.no_check else _check(settings, choice, key, asks)
    written, backup = _write(path, before, after, choice.provider, key, said.yes or not asks)
    _report(path, choice, checked, written, backup, json)
    return 0 if written else 1


# --- what the flags say ---


def _require(said: Said, path: Path) -> None:
    """Raises UsageError that lists what is missing where nobody can be asked."""
    missing = []
    if not said.provider and not said.base_url:
        missing.append("--provider NAME or --base-url URL")
    if not said.routes:
        missing.append("--model NAME")
    if path.exists() and not said.yes:
        missing.append(f"--yes, to change {path}")
    if missing:
        raise click.UsageError("nobody is there to be asked, so these are missing:\n  " + "\n  ".join(missing))


# --- the provider ---


def _place(said: Said, asks: bool) -> tuple[Choice, Preset | None]:
    from latimer.policy.presets import preset_for_url, presets
    from latimer.policy.setup import Choice, named

    provider, base_url = said.provider, said.base_url
    if not provider and not base_url:
        provider, base_url = _ask_provider()
    name = named(provider, base_url)
    preset = presets().get(name) or (preset_for_url(base_url) if base_url else None)
    if preset is None and not base_url:
        from latimer.policy.tables import nearest

        raise ConfigError(f"there is no preset {name!r}{nearest(name, presets(), 'presets')}; or give --base-url URL")
    address = said.address
    if preset and asks and not base_url and not address and len(preset.addresses) > 1:
        address = _pick("Address", list(preset.addresses), next(iter(preset.addresses)))
        address = "" if address == next(iter(preset.addresses)) else address
    if preset and not preset.base_url and not base_url and not address:
        if not asks:
            raise click.UsageError(f"{name} needs --base-url, such as {preset.url_form}")
        base_url = click.prompt(f"Base URL, such as {preset.url_form}", err=True)
    return Choice(name, base_url, address), preset


def _ask_provider() -> tuple[str, str]:
    """A preset's name, or a URL."""
    from latimer.policy.setup import known_presets

    found = known_presets()
    names = [preset.name for preset in found]
    width = max(map(len, names))
    for number, preset in enumerate(found, 1):
        click.echo(f"{number:>4}  {preset.name:<{width}}  {preset.title}", err=True)
    from latimer.policy.setup import picked

    while True:
        answer = click.prompt("Provider: a number, a name, or the base URL of another", err=True).strip()
        if "://" in answer:
            return "", answer
        if choice := picked(answer, names):
            return choice, ""
        click.echo("That is none of them, or more than one.", err=True)


def _pick(what: str, names: Sequence[str], default: str = "") -> str:
    """One of the names, by its number, itself or a part of it."""
    from latimer.policy.setup import picked

    for number, name in enumerate(names[:SHOWN_MODELS], 1):
        click.echo(f"{number:>4}  {name}", err=True)
    if len(names) > SHOWN_MODELS:
        click.echo(f"      and {len(names) - SHOWN_MODELS} more", err=True)
    while True:
        answer = click.prompt(what, default=default or None, err=True).strip()
        if choice := picked(answer, list(names)):
            return choice
        fitting = [name for name in names if answer.lower() in name.lower()]
        if not fitting and click.confirm(f"{answer!r} is not in the list. Take it all the same?", err=True):
            return answer
        click.echo(f"That fits {len(fitting)}: {', '.join(fitting[:SHOWN_MODELS])}" if fitting else "", err=True)


# --- the key ---


def _key(said: Said, place: Choice, preset: Preset | None, asks: bool) -> Key:
    """Where the key is. Raises UsageError or LatimerError."""
    from latimer.policy.setup import KEY_VARIABLE, usual_variable

    if said.api_key_env:
        if not KEY_VARIABLE.fullmatch(said.api_key_env):
            # A key pasted where its variable's name belongs must not be shown.
            raise click.UsageError("--api-key-env takes the name of an environment variable, not the key itself")
        return Key(f"env:{said.api_key_env}")
    if said.api_key_stdin:
        return _to_keyring(place.provider, sys.stdin.read())
    usual = usual_variable(preset, place.address, os.environ)
    local = _is_local(place, preset)
    if asks:
        return _ask_key(place.provider, usual, needed=not local)
    if os.environ.get(usual):
        return Key(f"env:{usual}")
    if local:
        return Key()
    raise click.UsageError(
        f"the key of {place.provider} is missing: --api-key-env VAR names the variable that holds it"
        + (f" ({usual} is not set)" if usual else "")
        + ", and --api-key-stdin reads it"
    )


def _is_local(place: Choice, preset: Preset | None) -> bool:
    from urllib.parse import urlsplit

    from latimer.policy.config import is_loopback

    url = place.base_url or (preset.base_url if preset else "")
    return is_loopback(urlsplit(url).hostname or "")


def _to_keyring(provider: str, text: str) -> Key:
    from latimer.shell.keystore import why_unusable

    if why := why_unusable():
        raise LatimerError(
            f"the key cannot go into the system's keyring: {why}. Put it into an environment variable and name that "
            "with --api-key-env VAR"
        )
    return Key(f"keyring:{provider}", _cleaned(text), keep=True)


def _cleaned(text: str) -> str:
    key = text.strip()
    if not key or not key.isprintable() or not key.isascii() or " " in key:
        raise LatimerError("that is no key: it must be one line of printable ASCII without blanks")
    return key


def _ask_key(provider: str, usual: str, *, needed: bool) -> Key:
    from latimer.shell.keystore import why_unusable

    is_set = bool(os.environ.get(usual))
    otherwise = f"the one in {usual}" if is_set else "it is in an environment variable" if needed else "none"
    question = f"Key of {provider}, which is not shown (Enter: {otherwise})"
    pasted = click.prompt(question, hide_input=True, default="", show_default=False, err=True)
    if not pasted.strip():
        if not needed and not is_set:
            return Key()
        name = usual if is_set else click.prompt("The variable's name", default=usual or None, err=True)
        return Key(f"env:{_variable(name)}")
    key = _cleaned(pasted)
    why = why_unusable()
    if not why:
        return Key(f"keyring:{provider}", key, keep=True)
    click.echo(f"The key cannot go into the system's keyring: {why}.", err=True)
    click.echo(
        "Put it into an environment variable before you start Latimer; only the variable's name is written.", err=True
    )
    return Key(f"env:{_variable(click.prompt('The name of that variable', default=usual or None, err=True))}", key)


def _variable(name: str) -> str:
    from latimer.policy.setup import KEY_VARIABLE

    if not KEY_VARIABLE.fullmatch(name.strip()):
        raise LatimerError("that is no name of an environment variable")
    return name.strip()


# --- models, check, file ---


def _with_key(place: Choice, key: Key) -> Choice:
    from msgspec.structs import replace

    return replace(place, api_key=key.reference)


def _routed(choice: Choice, routes: Mapping[str, str]) -> Choice:
    from msgspec.structs import replace

    return replace(choice, routes=routes)


def _text_with(before: str, choice: Choice, path: Path) -> tuple[str, Config]:
    """The file's next text, and what it means. Raises ConfigError."""
    from latimer.policy.config import parse
    from latimer.policy.setup import edited

    after = edited(before, choice)
    return after, parse(after, str(path))


def _models(said: Said, before: str, choice: Choice, key: Key, path: Path) -> dict[str, str]:
    """The models for the tiers, of those that the provider lists; flags are not asked about."""
    from latimer.shell.setup import list_models, with_key

    routes = said.routes
    _, settings = _text_with(before, _routed(choice, {"default": "any"}), path)
    routed = tomllib.loads(before).get("routes", {})
    names: list[str] = []
    try:
        with progress(f"asking {choice.provider} for its models"):
            names = in_loop(list_models, with_key(settings, choice.provider, key.value), choice.provider)
    except (Rejection, ConfigError) as error:
        raise LatimerError(f"{error}") from None
    if not names:
        click.echo("The provider lists no models, so their names have to be typed.", err=True)
    if "default" not in routes:
        routes["default"] = _pick("Model", names) if names else click.prompt("Model", err=True).strip()
    for tier in ("opus", "sonnet", "haiku"):
        if tier not in routes:
            answer = _pick_again(f"Model for {tier}", names, routes["default"])
            # One that the file routes elsewhere would stay there if it went without saying.
            if answer != routes["default"] or tier in routed:
                routes[tier] = answer
    return routes


def _pick_again(what: str, names: list[str], default: str) -> str:
    from latimer.policy.setup import picked

    while True:
        answer = click.prompt(what, default=default, err=True).strip()
        found = answer if answer == default or not names else picked(answer, names)
        if found:
            return found
        click.echo("That is none of them, or more than one.", err=True)


def _check(settings: Config, choice: Choice, key: Key, asks: bool) -> dict[str, str]:
    """Each chosen model and what failed, '' where nothing did. Raises LatimerError, or Abort by the user's word."""
    from latimer.shell.setup import check, with_key

    ready = with_key(settings, choice.provider, key.value)
    checked: dict[str, str] = {}
    for model in dict.fromkeys(choice.routes.values()):
        name = f"{choice.provider}/{model}"
        click.echo(f"Trying {name} …", err=True)
        checked[name] = in_loop(check, ready, name)
    failed = "\n".join(why for why in checked.values() if why)
    if not failed:
        return checked
    if not asks:
        raise LatimerError(
            f"{failed}\nNothing was written. --no-check writes without trying; `latimer probe` then finds out what the "
            "provider takes."
        )
    click.echo(failed, err=True)
    click.confirm("Write the configuration all the same?", default=False, abort=True, err=True)
    return checked


def _write(path: Path, before: str, after: str, provider: str, key: Key, sure: bool) -> tuple[bool, Path | None]:
    """Whether it was written, and where the old file is. A key is stored only if the file is written too."""
    from latimer.policy.setup import difference
    from latimer.shell import keystore
    from latimer.shell.setup import write

    changes = difference(before, after, str(path))
    if changes:
        click.echo(changes, err=True)
    if not sure and not click.confirm(f"Write {path}?", default=True, err=True):
        return False, None
    former = keystore.stored(provider) if key.keep else None
    if key.keep:
        keystore.store(provider, key.value)
    try:
        return True, write(path, after) if changes else None
    except BaseException:
        if key.keep:
            keystore.put_back(provider, former)
        raise


def _report(
    path: Path, choice: Choice, checked: dict[str, str], written: bool, backup: Path | None, json: bool
) -> None:
    if json:
        tried = [{"route": name, "answers": not why, "why": why or None} for name, why in checked.items()]
        result = {
            "config": str(path),
            "written": written,
            "backup": str(backup) if backup else None,
            "provider": choice.provider,
            "api_key": choice.api_key or None,
            "routes": {key: f"{choice.provider}/{model}" for key, model in choice.routes.items()},
            "checked": tried,
        }
        click.echo(as_json(result))
        return
    if not written:
        click.echo("Nothing was written.")
        return
    click.echo(f"Wrote {path}" + (f"; what was there is in {backup}" if backup else ""))
    if choice.api_key.startswith("keyring:"):
        click.echo(f"The key is in the system's keyring, as {choice.provider} of latimer.")
    elif choice.api_key:
        name = choice.api_key.removeprefix("env:")
        unset = "" if os.environ.get(name) else f", which is not set in this shell: `export {name}=…` before you start"
        click.echo(f"The key is read from the variable {name}{unset}.")
    click.echo("Start Claude Code with `latimer run`; `latimer probe` finds out what the models can do.")
