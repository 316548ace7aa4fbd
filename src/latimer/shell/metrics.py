"""Counters, and their Prometheus form when somebody asks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from latimer.events import Usage

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Snapshot(Struct, frozen=True):
    """The counters of one moment, to be written down: by label, or by labels."""

    requests: Mapping[tuple[str, str], int] = {}
    tokens: Mapping[tuple[str, str], int] = {}
    cost: Mapping[str, float] = {}
    unpriced: Mapping[str, int] = {}
    retries: Mapping[str, int] = {}
    repairs: Mapping[tuple[str, str], int] = {}
    reviews: Mapping[str, int] = {}
    fallbacks: Mapping[str, int] = {}
    circuits_opened: Mapping[str, int] = {}
    open: int = 0


class Family(Struct, frozen=True):
    """A counter of `Metrics`, and what Prometheus calls it after `latimer_`."""

    counter: str
    name: str
    about: str
    labels: tuple[str, ...] = ("route",)


FAMILIES = (
    Family("requests", "requests", "Requests by path and outcome.", ("path", "outcome")),
    Family("tokens", "tokens", "Tokens by route and kind.", ("route", "kind")),
    Family("cost", "cost_usd", "US dollars at list prices by route."),
    Family("unpriced", "unpriced", "Answers of unknown price by route."),
    Family("retries", "retries", "Repeated attempts by route."),
    Family("repairs", "repairs", "Repairs of answers by kind.", ("route", "kind")),
    Family("reviews", "reviews", "Tool calls by outcome of review.", ("outcome",)),
    Family("fallbacks", "fallbacks", "Answers of a route that was not the first of its chain."),
    Family("circuits_opened", "circuits_opened", "How often a route was left alone."),
)


class Metrics:
    """What has happened since the start. Labels are routes, statuses and kinds of tokens, never what a user wrote."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.cost: defaultdict[str, float] = defaultdict(float)
        self.unpriced: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.repairs: Counter[tuple[str, str]] = Counter()
        self.reviews: Counter[str] = Counter()
        self.fallbacks: Counter[str] = Counter()
        self.circuits_opened: Counter[str] = Counter()
        self.open = 0

    def answered(self, route: str, usage: Usage, cost: float | None = None) -> None:
        """An answer that reached its end. `cost` is in US dollars, None where the price is unknown."""
        self.tokens[route, "input"] += usage.input_tokens
        self.tokens[route, "output"] += usage.output_tokens
        self.tokens[route, "cache_read"] += usage.cache_read_tokens
        self.tokens[route, "cache_write"] += usage.cache_write_tokens
        self.tokens[route, "reasoning"] += usage.reasoning_tokens
        if cost is None:
            self.unpriced[route] += 1
        else:
            self.cost[route] += cost

    def snapshot(self) -> Snapshot:
        """What is counted by now; it changes with the counters until it is written down."""
        return Snapshot(**{each.counter: getattr(self, each.counter) for each in FAMILIES}, open=self.open)

    def add(self, other: Snapshot) -> None:
        """Count what another has counted as well."""
        for each in FAMILIES:
            own = getattr(self, each.counter)
            for label, count in getattr(other, each.counter).items():
                own[label] += count
        self.open += other.open

    def collect(self) -> Iterator[Metric]:
        """What `prometheus_client` reads from a collector."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415  # see `text`

        for each in FAMILIES:
            family = CounterMetricFamily(f"latimer_{each.name}", each.about, labels=each.labels)
            for label, count in getattr(self, each.counter).items():
                family.add_metric([label] if len(each.labels) == 1 else label, count)
            yield family
        yield GaugeMetricFamily("latimer_open_requests", "Now open.", value=self.open)


def text(metrics: Metrics) -> bytes:
    """The exposition format. The library is imported when first asked: most sessions never are."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

    registry = CollectorRegistry()
    registry.register(metrics)
    return generate_latest(registry)
