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
        return Snapshot(
            self.requests,
            self.tokens,
            self.cost,
            self.unpriced,
            self.retries,
            self.repairs,
            self.reviews,
            self.fallbacks,
            self.circuits_opened,
            self.open,
        )

    def add(self, other: Snapshot) -> None:
        """Count what another has counted as well."""
        self.requests.update(other.requests)
        self.tokens.update(other.tokens)
        for route, dollars in other.cost.items():
            self.cost[route] += dollars
        self.unpriced.update(other.unpriced)
        self.retries.update(other.retries)
        self.repairs.update(other.repairs)
        self.reviews.update(other.reviews)
        self.fallbacks.update(other.fallbacks)
        self.circuits_opened.update(other.circuits_opened)
        self.open += other.open

    def collect(self) -> Iterator[Metric]:
        """What `prometheus_client` reads from a collector."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415  # see `text`

        requests = CounterMetricFamily("latimer_requests", "Requests by path and outcome.", labels=["path", "outcome"])
        for (path, outcome), count in self.requests.items():
            requests.add_metric([path, outcome], count)
        tokens = CounterMetricFamily("latimer_tokens", "Tokens by route and kind.", labels=["route", "kind"])
        for (route, kind), count in self.tokens.items():
            tokens.add_metric([route, kind], count)
        cost = CounterMetricFamily("latimer_cost_usd", "US dollars at list prices by route.", labels=["route"])
        for route, dollars in self.cost.items():
            cost.add_metric([route], dollars)
        unpriced = CounterMetricFamily("latimer_unpriced", "Answers of unknown price by route.", labels=["route"])
        for route, count in self.unpriced.items():
            unpriced.add_metric([route], count)
        retries = CounterMetricFamily("latimer_retries", "Repeated attempts by route.", labels=["route"])
        for route, count in self.retries.items():
            retries.add_metric([route], count)
        repairs = CounterMetricFamily("latimer_repairs", "Repairs of answers by kind.", labels=["route", "kind"])
        for (route, kind), count in self.repairs.items():
            repairs.add_metric([route, kind], count)
        reviews = CounterMetricFamily("latimer_reviews", "Tool calls by outcome of review.", labels=["outcome"])
        for outcome, count in self.reviews.items():
            reviews.add_metric([outcome], count)
        fallbacks = CounterMetricFamily(
            "latimer_fallbacks", "Answers of a route that was not the first of its chain.", labels=["route"]
        )
        for route, count in self.fallbacks.items():
            fallbacks.add_metric([route], count)
        opened = CounterMetricFamily("latimer_circuits_opened", "How often a route was left alone.", labels=["route"])
        for route, count in self.circuits_opened.items():
            opened.add_metric([route], count)
        yield from (requests, tokens, cost, unpriced, retries, repairs, reviews, fallbacks, opened)
        yield GaugeMetricFamily("latimer_open_requests", "Now open.", value=self.open)


def text(metrics: Metrics) -> bytes:
    """The exposition format. The library is imported when first asked: most sessions never are."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

    registry = CollectorRegistry()
    registry.register(metrics)
    return generate_latest(registry)
