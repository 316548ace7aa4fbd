"""What the interop tests share: a scripted upstream and Latimer in front of it, both fresh for each test."""

import os
from collections.abc import Iterator
from pathlib import Path

import anthropic
import pytest

from latimer.local_model import LocalModel, local_model
from tests.interop.claude import TOKEN
from tests.interop.sdk import Sdk
from tests.latimer_process import Latimer, latimer
from tests.upstream import Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A scripted upstream. What holds for every request is checked at the end of the test."""
    with Upstream() as server:
        yield server
    check(server)


@pytest.fixture
def gateway(upstream: Upstream, tmp_path: Path) -> Iterator[Latimer]:
    """`latimer serve --upstream … --model m --port 0`, nothing else."""
    with latimer(upstream.url, home=tmp_path) as server:
        yield server


def check(upstream: Upstream) -> None:
    """No request broke a rule, and none carried what is not the upstream's business."""
    assert upstream.failures == []
    assert upstream.refused == []
    for exchange in upstream.exchanges:
        assert TOKEN not in str(exchange.headers)
        for private in (b"device_id", b"x-anthropic-billing-header", b"DeferredToolPlaceholder"):
            assert private not in exchange.raw, f"request {exchange.number} carries {private.decode()}"


# Each failure reaches the client at once, and a silence is short: the waiting itself is tested elsewhere.
IMPATIENT = """
[server]
ping_seconds = 1
commit_seconds = 1
[retry]
tries = 1
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    """One Latimer and one upstream for all tests of a module."""
    with (
        Upstream() as upstream,
        latimer(upstream.url, home=tmp_path_factory.mktemp("latimer"), config=IMPATIENT) as gateway,
        anthropic.Anthropic(base_url=gateway.url, api_key=TOKEN, max_retries=0) as client,
    ):
        yield Sdk(client, gateway, upstream)


@pytest.fixture
def sdk(bench: Sdk) -> Iterator[Sdk]:
    """The official SDK in front of Latimer, and nothing left of the test before."""
    expected = os.environ.get("LATIMER_TEST_ANTHROPIC_MAJOR", "2")
    assert anthropic.__version__.split(".")[0] == expected, "the wrong release of the SDK was imported"
    bench.upstream.play([])
    yield bench
    check(bench.upstream)


@pytest.fixture(scope="session")
def llama_server() -> Iterator[LocalModel]:
    """llama.cpp's own server with a real model, on a port of its own."""
    with local_model() as model:
        yield model
