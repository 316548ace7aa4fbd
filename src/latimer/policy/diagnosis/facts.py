"""What `latimer doctor` gathers and the rules judge. No value in it is a secret: those are masked before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from latimer.policy.config import Config
from latimer.policy.knowledge import Knowledge
from latimer.policy.models import ModelFacts
from latimer.policy.routing import Route

Scope = Literal["shell", "user", "project", "local", "managed", "editor"]
Failing = Literal["", "dns", "refused", "reset", "timeout", "tls", "ca", "expired", "name", "setting", "other"]
Smell = Literal["quotes", "scheme", "spaces", "placeholder"]


class ConfigFacts(Struct, frozen=True):
    """The configuration file: where it is or belongs, and what came of reading it. `error` is the reader's."""

    path: str
    config: Config | None = None
    error: str = ""


class KeyFacts(Struct, frozen=True):
    """One reference to a secret, by the path of its key in the configuration."""

    path: str
    reference: str
    problem: str = ""
    unset: str = ""
    """The variable that is not set."""
    empty: bool = False
    smells: tuple[Smell, ...] = ()
    """What makes its value look like no key."""


class FileFacts(Struct, frozen=True):
    """A file or folder of Latimer's, with its mode; -1 where modes mean nothing. `key_of`: it holds this secret."""

    path: str
    mode: int
    folder: bool = False
    key_of: str = ""


class Leak(Struct, frozen=True):
    """A file in which a configured key stands."""

    path: str
    key_of: str


class StateFacts(Struct, frozen=True):
    """The state folder: why nothing can be kept in it ('' where it can), and the path that is in the way."""

    path: str
    problem: str = ""
    culprit: str = ""
    learned: str = ""
    """The file of what was learned, where it cannot be read, and why."""
    learned_problem: str = ""


class ProxyFacts(Struct, frozen=True):
    """A proxy variable. Of its value, `shown` is what holds no password; `problem` says why it is no usable URL."""

    variable: str
    shown: str
    problem: str = ""
    socks: bool = False


class TrustFacts(Struct, frozen=True):
    """Whom TLS trusts by the environment: SSL_CERT_FILE, why it cannot be used, and what Node is told to trust."""

    file: str = ""
    problem: str = ""
    node_file: str = ""


class ReachFacts(Struct, frozen=True):
    """What came of asking a provider for its list of models."""

    provider: str
    url: str
    key: str = ""
    """The path of the key that was shown."""
    status: int = 0
    failing: Failing = ""
    message: str = ""
    proxy: str = ""
    better: str = ""
    """A base URL at which the list of models is, where it was not at the configured one."""
    skew_seconds: float = 0.0
    """How far this machine's clock is ahead of the provider's."""
    listed: frozenset[str] = frozenset()


class RouteFacts(Struct, frozen=True):
    """One `provider/model` and what its upstream told of it."""

    route: Route
    told: ModelFacts = ModelFacts()

    @property
    def window(self) -> int:
        """Tokens of its context window; 0: unknown."""
        return self.route.profile.request.context_window or self.told.context_window

    @property
    def output(self) -> int:
        """Most tokens of an answer; 0: unknown."""
        return self.route.profile.request.max_output or self.told.max_output


class TrialFacts(Struct, frozen=True):
    """One real request through the whole of Latimer. `cost` is in US dollars, None where the price is unknown."""

    route: str
    problem: str = ""
    called: bool = False
    """Whether the model called the tool."""
    cut: bool = False
    """Whether the answer ended at its limit of tokens."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0


class ListenerFacts(Struct, frozen=True):
    """What listens at an address: nothing, another program, or a Latimer with its version and instance id."""

    free: bool = True
    version: str = ""
    instance: str = ""


class RecordFacts(Struct, frozen=True):
    """What a background Latimer wrote down of itself, and whether the one that it tells of answers."""

    path: str
    url: str
    alive: bool
    error: str = ""
    """Why it could not take the configuration as it is now."""
    restart: tuple[str, ...] = ()
    """Settings that count from its next start on."""


class ServerFacts(Struct, frozen=True):
    """Where Latimer would listen, and why it cannot ('' where it can). `spare_port` is one that is free."""

    listener: ListenerFacts = ListenerFacts()
    problem: Literal["", "address", "rights"] = ""
    spare_port: int = 0
    records: tuple[RecordFacts, ...] = ()


class Source(Struct, frozen=True):
    """One place that Claude Code takes settings from. Values of secrets are masked."""

    scope: Scope
    path: str = ""
    variables: Mapping[str, str] = {}
    """An empty one takes the value of a weaker source away."""
    model: str = ""
    helper: Literal["", "latimer", "other"] = ""
    """Whose `apiKeyHelper` it names: `latimer connect` writes one that prints Latimer's token."""
    each_window: bool = False
    """Whether it tells the context window model by model (`modelSettings`)."""
    problem: str = ""
    """Why the file cannot be read."""
    token_fits: bool = False
    """Whether its ANTHROPIC_AUTH_TOKEN is Latimer's token."""


class ClientFacts(Struct, frozen=True):
    """Claude Code: its program, and what it is told."""

    program: str = ""
    version: str = ""
    problem: str = ""
    others: tuple[str, ...] = ()
    """More programs of that name, in other files."""
    sources: tuple[Source, ...] = ()
    """From the weakest to the strongest: a settings file's `env` wins over the shell's environment."""
    listeners: Mapping[str, ListenerFacts] = {}
    """What listens at each loopback ANTHROPIC_BASE_URL."""
    editors: tuple[Source, ...] = ()
    """What the settings of editors set for their Claude Code."""
    account_key: str = ""
    """The file in which a login of Claude Code's keeps an API key, which it then sends to everyone."""
    account_problem: str = ""


class MachineFacts(Struct, frozen=True):
    """The rest: `encoding` is the terminal's, `file_limit` the most open files that may be asked for (0: no limit)."""

    windows: bool = False
    encoding: str = "utf-8"
    file_limit: int = 0
    latimers: tuple[str, ...] = ()
    """Programs named `latimer` on PATH, in other files than this one."""
    program: str = ""
    missing: frozenset[str] = frozenset()
    """Extras whose packages are not installed."""


class Facts(Struct, frozen=True):
    """All of it. What was not asked (no network, no trial) is empty."""

    config: ConfigFacts
    now: float = 0.0
    version: str = ""
    keys: tuple[KeyFacts, ...] = ()
    files: tuple[FileFacts, ...] = ()
    leaks: tuple[Leak, ...] = ()
    state: StateFacts = StateFacts("")
    learned: Knowledge = field(default_factory=Knowledge)
    proxies: tuple[ProxyFacts, ...] = ()
    trust: TrustFacts = TrustFacts()
    no_proxy: str = ""
    reached: tuple[ReachFacts, ...] = ()
    routes: tuple[RouteFacts, ...] = ()
    trials: tuple[TrialFacts, ...] = ()
    server: ServerFacts = ServerFacts()
    client: ClientFacts = ClientFacts()
    machine: MachineFacts = MachineFacts()
