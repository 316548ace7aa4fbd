"""The upstream that lets nothing pass that any provider of its dialect refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tests.scenarios import messages_replies, responses_replies
from tests.scenarios.checking import MalformedError
from tests.scenarios.ledger import Ledger
from tests.scenarios.messages_rules import MessagesRules
from tests.scenarios.replies import Say, Wire, failure
from tests.scenarios.responses_rules import ResponsesRules
from tests.scenarios.rules import Rules

if TYPE_CHECKING:
    from tests.upstream import Exchange

PATHS = {"/chat/completions": "chat", "/responses": "responses", "/messages": "messages"}
KINDS = {401: "authentication_error", 404: "not_found_error"}


class Host(Protocol):
    """What makes one provider's server of a scripted upstream."""

    @property
    def model(self) -> str:
        """The one model it serves."""

    def dialect(self, path: str) -> str:
        """What is spoken at this path, '' for nothing."""

    def check(self, exchange: Exchange, ledger: Ledger) -> None:
        """Raise `MalformedError` for the first rule that the request breaks."""

    def render(self, exchange: Exchange, say: Say, ledger: Ledger) -> Wire:
        """The bytes for `say`, as the request wants it, and on record in the ledger."""

    def refuse(self, exchange: Exchange, error: MalformedError) -> Wire:
        """The answer to a request that broke a rule."""


@dataclass(frozen=True)
class Strict:
    """The strictest rules in each dialect, under any path that ends as the dialect's own."""

    rules: Rules = field(default_factory=Rules)

    @property
    def model(self) -> str:
        """The one model it serves."""
        return self.rules.model

    def dialect(self, path: str) -> str:
        """What is spoken at this path."""
        return next((dialect for ending, dialect in PATHS.items() if path.endswith(ending)), "")

    def check(self, exchange: Exchange, ledger: Ledger) -> None:
        """Raise `MalformedError` for the first rule that the request breaks."""
        if exchange.dialect == "chat":
            self.rules.check(exchange.body)
        elif exchange.dialect == "responses":
            ResponsesRules(self.model, images=self.rules.images).check(exchange.body, ledger)
        else:
            rules = MessagesRules(self.model, mid_system=self.rules.mid_system, images=self.rules.images)
            rules.check(exchange.body, exchange.headers, ledger)

    def render(self, exchange: Exchange, say: Say, ledger: Ledger) -> Wire:
        """The bytes for `say`."""
        number = ledger.number()
        token = sealed(number) if say.reasoning else ""
        if exchange.dialect == "chat":
            ledger.record(say)
            if not exchange.streaming:
                return say.whole(self.model)
            options = exchange.body.get("stream_options") or {}
            return say.streamed(self.model, include_usage=bool(options.get("include_usage")))
        ledger.record(say, token)
        if exchange.dialect == "responses":
            ledger.items.update(item["id"] for item in responses_replies.output(say, number, token))
            render = responses_replies.streamed if exchange.streaming else responses_replies.whole
        else:
            render = messages_replies.streamed if exchange.streaming else messages_replies.whole
        return render(say, self.model, number, token)

    def refuse(self, exchange: Exchange, error: MalformedError) -> Wire:
        """The answer to a request that broke a rule."""
        if exchange.dialect == "messages":
            return messages_replies.failure(error.status, KINDS.get(error.status, "invalid_request_error"), str(error))
        return failure(error.status, str(error), param=error.param, code=error.code)


def sealed(number: int) -> str:
    """What stands for a reply's reasoning: nobody but this upstream can read it."""
    return f"gAAAAAB{number:057x}=="
