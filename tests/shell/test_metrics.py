"""Counters, and what Prometheus reads."""

import re

from prometheus_client.parser import text_string_to_metric_families

from latimer.events import Usage
from latimer.shell.metrics import Metrics, text
from tests.scenarios.replies import Say, failure
from tests.shell.harness import PROMPT, serving


def samples(exposition: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def test_the_text() -> None:
    metrics = Metrics()
    metrics.requests["/v1/messages", "200"] += 2
    metrics.retries["p/m"] += 1
    metrics.fallbacks["q/m"] += 3
    metrics.circuits_opened["p/m"] += 2
    metrics.answered("p/m", Usage(100, 20, 60, 7, 5), 0.25)
    metrics.answered("p/m", Usage(100, 20, 60, 7, 5), 0.5)
    metrics.answered("p/free", Usage(1, 1), 0.0)
    metrics.answered("p/unknown", Usage(1, 1), None)
    found = samples(text(metrics).decode())
    assert found["latimer_requests_total", "200", "/v1/messages"] == 2
    assert found["latimer_retries_total", "p/m"] == 1
    assert found["latimer_fallbacks_total", "q/m"] == 3
    assert found["latimer_circuits_opened_total", "p/m"] == 2
    assert found["latimer_tokens_total", "input", "p/m"] == 200
    assert found["latimer_tokens_total", "output", "p/m"] == 40
    assert found["latimer_tokens_total", "cache_read", "p/m"] == 120
    assert found["latimer_tokens_total", "cache_write", "p/m"] == 14
    assert found["latimer_tokens_total", "reasoning", "p/m"] == 10
    assert found["latimer_cost_usd_total", "p/m"] == 0.75
    assert found["latimer_cost_usd_total", "p/free"] == 0
    assert ("latimer_cost_usd_total", "p/unknown") not in found
    assert found["latimer_unpriced_total", "p/unknown"] == 1
    assert ("latimer_unpriced_total", "p/m") not in found
    assert found["latimer_open_requests",] == 0


async def test_what_is_counted() -> None:
    say = Say("Hello", usage={"prompt_tokens": 40, "completion_tokens": 2})
    async with serving(failure(500, "boom"), say) as (client, _):
        await client.ask()
        await client.ask(stream=False)
        await client.ask(max_tokens="x")
        await client.get(f"/{PROMPT.replace(' ', '%20')}")
        await client.get("/v1/models")
        answer = await client.get("/metrics")
    assert re.match(r"text/plain; version=0\.0\.4", answer.headers["content-type"])
    exposition = answer.body.decode()
    assert PROMPT not in exposition  # a label is never what somebody wrote
    found = samples(exposition)
    assert found["latimer_requests_total", "200", "/v1/messages"] == 2
    assert found["latimer_requests_total", "400", "/v1/messages"] == 1
    assert found["latimer_requests_total", "404", "other"] == 1
    assert found["latimer_requests_total", "200", "/v1/models"] == 1
    assert found["latimer_retries_total", "p0/m"] == 1
    assert found["latimer_tokens_total", "input", "p0/m"] == 80
    assert found["latimer_tokens_total", "output", "p0/m"] == 4
    assert found["latimer_open_requests",] == 1
