"""What Claude Code must be told to talk to Latimer: variables and settings, as data.

Each was tried with the real client, 2.1.330 and 2.1.197; docs/claude-code.md says what it does with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from latimer.policy.config import Config
from latimer.policy.presets import Overlay
from latimer.policy.routing import TIERS, picker_id, route_names, routes_for, tier_id, tier_route

TESTED_VERSIONS = ("2.1.330", "2.1.197")
"""The releases of Claude Code that the tests run, the newest first."""
LEAST_COMPACT_WINDOW = 100_000
"""Claude Code takes a smaller CLAUDE_CODE_AUTO_COMPACT_WINDOW for this number and warns."""
LONG_CONTEXT = 1_000_000
ASSUMED_WINDOW = 200_000
"""What Claude Code assumes of a model that it does not know, once CLAUDE_CODE_DISABLE_1M_CONTEXT is set."""
EACH_WINDOW_SINCE = (2, 1, 330)
"""The first release seen to take a window for each model; 2.1.197 does not."""
PROXY_VARIABLES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
NO_PROXY_VARIABLES = ("NO_PROXY", "no_proxy")
LOOPBACK = ("127.0.0.1", "localhost")
"""What these have to name, or Claude Code asks the proxy for Latimer."""

Told = Mapping[str, tuple[int, int]]
"""By a route's name, the context window and the output limit that its upstream named; 0 is unknown."""

_NOTHING: Mapping[str, Overlay] = {}
_NOBODY: Told = {}
_MAIN_TIERS = ("opus", "sonnet", "fable")
"""Those that conversations run on. Haiku writes titles and runs small subagents."""
_CONFLICTING = re.compile(
    r"ANTHROPIC_.*|_CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL"
    r"|CLAUDE_CODE_(USE_(ANTHROPIC_AWS|ANTHROPIC_GOOGLE_CLOUD|BEDROCK|FOUNDRY|GATEWAY|MANTLE|VERTEX)|SKIP_.*_AUTH"
    r"|OAUTH_.*|API_BASE_URL|API_KEY_FILE_DESCRIPTOR|GATEWAY_TOKEN.*|EXTRA_BODY|SUBAGENT_MODEL|WORKFLOW_SUBAGENT_MODEL"
    r"|AUTO_MODE_MODEL|BG_CLASSIFIER_MODEL|MODEL_CATALOG.*|PROVIDER_MANAGED_BY_HOST|DISABLE_1M_CONTEXT)|CLAUDECODE"
)
_WINDOWS = ("CLAUDE_CODE_AUTO_COMPACT_WINDOW", "CLAUDE_CODE_DISABLE_1M_CONTEXT")
"""They change the meaning of the window that Latimer gives."""


class Limits(Struct, frozen=True):
    """What the models take, in tokens; 0 is unknown.

    `context_window` and `max_output` are the smallest of the tiers that conversations run on; `windows` has the context
    window of each id that Claude Code may ask for.
    """

    context_window: int = 0
    max_output: int = 0
    windows: Mapping[str, int] = {}

    @property
    def differ(self) -> bool:
        """Whether each id needs a window of its own, of which the smallest is not too small for one."""
        return len(set(self.windows.values())) > 1 and self.context_window >= LEAST_COMPACT_WINDOW


def with_loopback(known: Iterable[str]) -> str:
    """What NO_PROXY has to be: the hosts it names, and those of Latimer."""
    return ",".join(dict.fromkeys([*known, *LOOPBACK]))


def limits(config: Config, known: Mapping[str, Overlay] = _NOTHING, told: Told = _NOBODY) -> Limits:
    """What the routed models take: from the configuration and what is known of them, else what their upstreams told."""

    def sizes(name: str) -> tuple[int, int]:
        rules = routes_for(config, name, known)[0].profile.request
        window, most = told.get(name, (0, 0))
        return rules.context_window or window, rules.max_output or most

    routes = {tier: route.name for tier in TIERS if (route := tier_route(config, tier, known))}
    main = [routes[tier] for tier in _MAIN_TIERS if tier in routes] or list(routes.values())
    windows = {picker_id(name): sizes(name)[0] for name in route_names(config)}
    windows |= {tier_id(config, tier): sizes(name)[0] for tier, name in routes.items()}
    return Limits(
        _least(sizes(name)[0] for name in main),
        _least(sizes(name)[1] for name in main),
        {model_id: window or ASSUMED_WINDOW for model_id, window in windows.items()},
    )


def conflicting(environ: Mapping[str, Any]) -> list[str]:
    """Variables that would take Claude Code past Latimer: other keys, other clouds, other models."""
    return sorted(name for name in environ if _CONFLICTING.fullmatch(name))


def variables(url: str, token: str, config: Config, sizes: Limits, each: bool = False) -> dict[str, str]:
    """The variables that point Claude Code at Latimer at `url`; a token is needed even when Latimer asks for none.

    `each`: `each_window` tells it the windows, model by model.
    """
    told = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": token or "latimer",
        "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",
        **size_variables(sizes, each),
    }
    for tier in TIERS:
        told.update(_tier_variables(config, tier))
    return told


def size_variables(sizes: Limits, each: bool = False) -> dict[str, str]:
    """The variables about windows and the length of answers."""
    window = max(sizes.windows.values()) if each else sizes.context_window
    told = {}
    # Above 200,000 tokens it warns of this one, but without it, it calls the window a million and the model `…[1m]`.
    if window < LONG_CONTEXT:
        told["CLAUDE_CODE_DISABLE_1M_CONTEXT"] = "1"
    if window:
        told["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] = str(window)
    if window >= LEAST_COMPACT_WINDOW and not each:
        told["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] = str(window)
    most = sizes.max_output or _share_of(window)
    if most:
        told["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(most)
    return told


def each_window(sizes: Limits) -> dict[str, Any]:
    """The settings that tell Claude Code each model's window: it compacts there, and `/context` shows it."""
    return {
        model_id: {"autoCompactWindow": max(window, LEAST_COMPACT_WINDOW)} for model_id, window in sizes.windows.items()
    }


def session_settings(sizes: Limits, each: bool) -> dict[str, Any]:
    """What a session is told with `--settings`, which counts more than the user's own settings files.

    Their `env` blocks would set other sizes: unlike the address and the token, these are not protected by
    CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST. An empty value is none. What Latimer does not know is left to them.
    """
    told = size_variables(sizes, each)
    if sizes.context_window:
        told = {**dict.fromkeys(_WINDOWS, ""), **told}
    settings: dict[str, Any] = {"env": told}
    if each:
        settings["modelSettings"] = each_window(sizes)
    return settings


def takes_each_window(version: str) -> bool:
    """Whether a client that calls itself `2.1.330 (Claude Code)` takes a window for each model."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return found is not None and tuple(map(int, found.groups())) >= EACH_WINDOW_SINCE


def says(arguments: Sequence[str], *options: str) -> bool:
    """Whether one of these options stands among Claude Code's arguments."""
    return any(argument.split("=")[0] in options for argument in arguments)


def _least(numbers: Iterable[int]) -> int:
    return min((number for number in numbers if number), default=0)


def _share_of(context_window: int) -> int:
    """Claude Code would ask for 32,000 tokens of answer, and keep as many free, even where that is the whole window."""
    return context_window // 8 if context_window < LEAST_COMPACT_WINDOW else 0


def _tier_variables(config: Config, tier: str) -> dict[str, str]:
    route = tier_route(config, tier)
    if route is None:
        return {}
    name = f"ANTHROPIC_DEFAULT_{tier.upper()}_MODEL"
    return {
        name: tier_id(config, tier),
        f"{name}_NAME": route.model,
        f"{name}_DESCRIPTION": f"{tier.capitalize()} tier, {route.provider.name}, through Latimer",
    }
