"""Counters, and their Prometheus form when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from latimer.events import Usage

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Metrics:
    """What has happened since the start. Labels are routes, statuses and kinds of tokens, never what a user wrote."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.retries: Counter[str] = Counter()
        self.repairs: Counter[tuple[str, str]] = Counter()
        self.reviews: Counter[str] = Counter()
        self.open = 0

    def answered(self, route: str, usage: Usage) -> None:
        """An answer that reached its end."""
        self.tokens[route, "input"] += usage.input_tokens
        self.tokens[route, "output"] += usage.output_tokens
        self.tokens[route, "cache_read"] += usage.cache_read_tokens
        self.tokens[route, "reasoning"] += usage.reasoning_tokens

    def collect(self) -> Iterator[Metric]:
        """What `prometheus_client` reads from a collector."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415  # see `text`

        requests = CounterMetricFamily("latimer_requests", "Requests by path and outcome.", labels=["path", "outcome"])
        for (path, outcome), count in self.requests.items():
            requests.add_metric([path, outcome], count)
        tokens = CounterMetricFamily("latimer_tokens", "Tokens by route and kind.", labels=["route", "kind"])
        for (route, kind), count in self.tokens.items():
            tokens.add_metric([route, kind], count)
        retries = CounterMetricFamily("latimer_retries", "Repeated attempts by route.", labels=["route"])
        for route, count in self.retries.items():
            retries.add_metric([route], count)
        repairs = CounterMetricFamily("latimer_repairs", "Repaired tool calls by kind.", labels=["route", "kind"])
        for (route, kind), count in self.repairs.items():
            repairs.add_metric([route, kind], count)
        reviews = CounterMetricFamily("latimer_reviews", "Tool calls by outcome of review.", labels=["outcome"])
        for outcome, count in self.reviews.items():
            reviews.add_metric([outcome], count)
        yield from (requests, tokens, retries, repairs, reviews)
        yield GaugeMetricFamily("latimer_open_requests", "Now open.", value=self.open)


def text(metrics: Metrics) -> bytes:
    """The exposition format. The library is imported when first asked: most sessions never are."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

    registry = CollectorRegistry()
    registry.register(metrics)
    return generate_latest(registry)
