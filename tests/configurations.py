"""Configurations that several modules of tests begin with."""

from latimer.policy.config import Config, parse


def two_tiers() -> Config:
    """A large model with a fallback, and a small one: nothing else is routed."""
    text = """
    [providers.big]
    base_url = "https://big.example.com/v1"
    [providers.small]
    base_url = "http://127.0.0.1:8080/v1"
    [routes]
    opus = ["big/strong", "small/spare"]
    haiku = "small/quick"
    """
    return parse(text, "my.toml")
