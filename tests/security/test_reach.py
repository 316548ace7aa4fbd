"""Who can reach the server: this machine alone, unless there is a token."""

import pytest

from latimer.errors import ConfigError
from latimer.policy.config import parse

PROVIDER = '[providers.p]\nbase_url = "http://127.0.0.1:9/v1"\n[routes]\ndefault = "p/m"\n'


def config(server: str) -> str:
    return parse(f"[server]\n{server}\n{PROVIDER}", "f").server.host


def test_this_machine_is_the_default() -> None:
    assert config("") == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_its_own_addresses_need_no_token(host: str) -> None:
    assert config(f'host = "{host}"') == host


@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "::", "[::]", "", "*", "0", "192.168.1.5", "10.0.0.1", "169.254.1.1", "fe80::1", "fd00::1"),
        # Loopback to some readers, and not to all of them.
        *("127.1", "2130706433", "0x7f000001", "0177.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "localhost."),
        # Names lead where a name server says.
        *("box.example", "localhost.example", "127.0.0.1.example", "ip6-localhost", "localhost.localdomain"),
    ],
)
def test_all_others_do(host: str) -> None:
    with pytest.raises(ConfigError, match="a token is required"):
        config(f'host = "{host}"')
    assert config(f'host = "{host}"\ntoken = "env:LATIMER_TOKEN"') == host
