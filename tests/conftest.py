"""What holds for every test: nothing is written to the user's own folders.

How many examples the property tests run: `ci` is the same for everyone, `fuzz` looks for what `ci` has not met.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

_SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)

settings.register_profile(
    "ci", max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=_SLOW
)
settings.register_profile(
    "fuzz", max_examples=int(os.environ.get("FUZZ_EXAMPLES", "1750")), deadline=None, suppress_health_check=_SLOW
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True, scope="session")
def state_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is learned in a test is kept in a folder of its own, also by a process that inherits the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATIMER_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield
