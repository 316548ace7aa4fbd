"""Case directories: what a client asks, what its upstream answers, and everything that must come of both.

    tests/cases/<upstream dialect>/<case>/
        request.json             the client's request                                        written by hand
        profile.toml             `preset`, `model`, `betas`, sections of the Profile; optional   written by hand
        upstream.sse | .json     the upstream's answer, byte for byte                        written by hand
        next.json                what the user says next; optional                           written by hand
        upstream_request.json    the body the upstream is sent                               blessed
        report.json              the losses of both ways, summarized                         blessed
        answer.sse               the answer as a stream                                      blessed
        answer.json              the answer as one message                                   blessed
        way.json                 Messages only: whether its bytes went through, or why not   blessed
        next_upstream_request.json   the next turn's body, where there is a next.json        blessed

        upstream_request.<other dialect>.json   the body that an upstream of another dialect would be sent   blessed
        report.<other dialect>.json             its losses, where they are not those of the case's own       blessed
        answer.<other dialect>.json             the error instead, where only the other dialect refuses      blessed

A request that is refused has only `request.json` and `answer.json`. `python -m tests.bless` writes the blessed files.
"""

import json
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from latimer.codecs import AnyAnswer, native_rules, read_answer
from latimer.dialects.errors.failures import Asked
from latimer.dialects.messages.edits import apply_edits
from latimer.dialects.messages.encoder import Heading, StreamEncoder, WholeEncoder, encode_failure
from latimer.dialects.messages.passthrough import translated_because
from latimer.dialects.messages.request import OLD_VERSION, Request, decode_request
from latimer.dialects.messages.slots import native_slots
from latimer.dialects.outgoing import Outgoing
from latimer.dialects.reader import Reader
from latimer.dialects.tools import restored_names
from latimer.errors import Rejection
from latimer.events import Event
from latimer.pipeline import answer_stages
from latimer.policy.config import Provider
from latimer.policy.presets import sections
from latimer.policy.profiles import resolve
from latimer.profile import EndpointRules, Profile
from latimer.report import Loss, summarize
from latimer.stages import Stage
from tests.reading import UPSTREAMS, Upstream

CASES = Path(__file__).parent / "cases"
HANDWRITTEN = frozenset({"request.json", "profile.toml", "upstream.sse", "upstream.json", "next.json"})
BLESSED = frozenset(
    {"upstream_request.json", "report.json", "answer.sse", "answer.json", "way.json", "next_upstream_request.json"}
    | {f"{stem}.{name}.json" for stem in ("upstream_request", "report", "answer") for name in UPSTREAMS}
)
INPUT_ESTIMATE = 100
"""Tokens that every case's prompt is estimated at."""

Chunking = Callable[[bytes], Iterable[bytes]]


def pieces(size: int) -> Chunking:
    """Cut into pieces of `size` bytes, across lines and characters."""
    return lambda data: [data[at : at + size] for at in range(0, len(data), size)]


CHUNKINGS: dict[str, Chunking] = {
    "at once": lambda data: [data],
    "by line": lambda data: data.splitlines(keepends=True),
    "seven bytes": pieces(7),
    "byte by byte": pieces(1),
}


class Case:
    """One directory. Everything is computed from the files written by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.upstream_dialect = next(each for each in UPSTREAMS.values() if each.name == path.parent.name)
        self.others = [each for each in UPSTREAMS.values() if each is not self.upstream_dialect]
        overlay = self.overlay = self._toml()
        self.model: str = overlay.get("model", "m")
        self.route = f"{overlay.get('preset', 'provider')}/{self.model}"
        provider = Provider("p", "", preset=overlay.get("preset", ""), rules=sections(overlay))
        self.profile: Profile = speaking(self.upstream_dialect, resolve(provider, self.model))
        self.version: str = overlay.get("version", OLD_VERSION)
        self.betas = frozenset(overlay.get("betas", ()))
        self.answer_losses: tuple[Loss, ...] = ()
        self.way = ""
        self._parsed: dict[tuple[bytes, bool], tuple[Request, bytes | None]] = {}
        self.heading: Callable[[], Heading] = lambda: Heading(
            "msg_case", self.request.body.model, "req_case", self.request.hides_thinking
        )

    @cached_property
    def raw_request(self) -> bytes:
        return compact(json.loads((self.path / "request.json").read_bytes()))

    @cached_property
    def request(self) -> Request:
        return self.parse(self.raw_request)

    def parse(self, raw: bytes) -> Request:
        """As the gateway does, its edits of the context included."""
        return self._parse(raw, self.profile)[0]

    def _parse(self, raw: bytes, profile: Profile) -> tuple[Request, bytes | None]:
        """And the bytes, if they still say the same."""
        edits = not native_rules(profile).takes("context_management")
        if (raw, edits) not in self._parsed:
            request = decode_request(raw, self.version, self.betas)
            same = True
            if edits:
                request, removed = apply_edits(request, lambda: INPUT_ESTIMATE, lambda cleared: len(cleared) // 4)
                same = not removed
            self._parsed[raw, edits] = request, raw if same and request.compact is None else None
        return self._parsed[raw, edits]

    @cached_property
    def outgoing(self) -> Outgoing:
        """What is sent upstream. Raises `Rejection`."""
        return self.encode(self.raw_request)

    @cached_property
    def upstream(self) -> bytes | None:
        """What the upstream answers; None for a request that never gets there."""
        return next(
            (found.read_bytes() for name in ("upstream.sse", "upstream.json") if (found := self.path / name).exists()),
            None,
        )

    @cached_property
    def refusal(self) -> bytes | None:
        """The error envelope of a request that is refused."""
        try:
            _ = self.outgoing
        except Rejection as rejection:
            return envelope(rejection)
        return None

    def encode(self, raw: bytes, dialect: Upstream | None = None) -> Outgoing:
        """A client's request for an upstream of this case's dialect, or of another. Raises `Rejection`."""
        dialect = dialect or self.upstream_dialect
        profile = speaking(dialect, self.profile)
        request, same = self._parse(raw, profile)
        how = {"model": self.model, "route": self.route, "profile": profile, "input_estimate": INPUT_ESTIMATE}
        return dialect.request(request, same, **how)

    def reader(self, *, raw: bool = False) -> Reader:
        request, window = self.request, self.profile.request.context_window
        limit = request.body.max_tokens
        return Reader(
            asked=Asked("provider", self.route, "env:KEY", request.body.model, INPUT_ESTIMATE, window, limit),
            message_id="msg_case",
            names=restored_names(request),
            taken_ids=request.tool_call_ids,
            seal_text=request.hides_thinking,
            think_tags=self.profile.reasoning.think_tags,
            raw_arguments=raw,
        )

    def answer(self, encoder: StreamEncoder | WholeEncoder, chunking: Chunking = CHUNKINGS["at once"]) -> bytes:
        """The client's bytes; the error envelope where the gateway can still answer with an HTTP status."""
        encoder.slots = native_slots(self.request, self.outgoing.losses)
        streamed = isinstance(encoder, StreamEncoder)
        request = replace(self.request, body=replace(self.request.body, stream=streamed))
        answer, way = self._answer(request, encoder)
        assert self.upstream is not None
        out = b"".join([answer.feed(piece) for piece in chunking(self.upstream) if not answer.over]) + answer.end()
        self.answer_losses, self.way = answer.losses, way()
        if answer.failure and not answer.spoken:
            return json.dumps(encode_failure(answer.failure, "req_case")).encode()
        return out

    def _answer(self, request: Request, encoder: StreamEncoder | WholeEncoder) -> tuple[AnyAnswer, Callable[[], str]]:
        """The answer's way to the client, and in words once it has gone it."""
        translated = False

        def stages() -> list[Stage]:
            nonlocal translated
            translated = True
            return self.stages()

        reader = self.reader(raw=self.profile.tools.repair_arguments)
        answer = read_answer(request, self.profile, reader, stages, encoder, watched=False, greeted=lambda: False)
        because = translated_because(request, self.profile) or "it is not of the form that was asked for"
        return answer, lambda: f"translated: {because}" if translated else "passed"

    def stages(self) -> list[Stage]:
        return answer_stages(
            self.request, self.profile, route=self.route, message_id="msg_case", input_estimate=INPUT_ESTIMATE
        )

    def events(self) -> list[Event]:
        """The upstream's answer in the hub's words."""
        assert self.upstream is not None
        return self.upstream_dialect.read([self.upstream], self.reader())

    def stream(self, chunking: Chunking = CHUNKINGS["at once"]) -> bytes:
        return self.answer(StreamEncoder(self.heading()), chunking)

    def whole(self, chunking: Chunking = CHUNKINGS["at once"]) -> bytes:
        return self.answer(WholeEncoder(self.heading()), chunking)

    def next_request(self) -> bytes | None:
        """The next turn, as a client builds it: the answer, then `next.json` or a result for each of its calls."""
        message = json.loads(self.whole())
        if message["type"] != "message" or not message["content"]:
            return None
        body = json.loads(self.raw_request)
        said = self.path / "next.json"
        user = json.loads(said.read_bytes()) if said.exists() else _reply(message["content"])
        body["messages"] += [{"role": "assistant", "content": message["content"]}, {"role": "user", "content": user}]
        body.pop("tool_choice", None)
        return compact(body)

    def blessed(self) -> Iterator[tuple[str, bytes]]:
        """Every expected file's name, and its content as the code has it now."""
        for other in self.others:
            yield from self._blessed_of(other)
        if self.refusal is not None:
            yield "answer.json", pretty(self.refusal)
            return
        yield "upstream_request.json", pretty(self.outgoing.body)
        stream, ways = self.stream(), {"streamed": self.way}
        yield "report.json", pretty(msgspec.json.encode(summarize([*self.outgoing.losses, *self.answer_losses])))
        yield "answer.sse", stream
        yield "answer.json", pretty(self.whole())
        if self.upstream_dialect.name == "messages":
            yield "way.json", pretty(json.dumps(ways | {"whole": self.way}).encode())
        following = self.next_request() if (self.path / "next.json").exists() else None
        if following is not None:
            yield "next_upstream_request.json", pretty(self.encode(following).body)

    def _blessed_of(self, other: Upstream) -> Iterator[tuple[str, bytes]]:
        try:
            outgoing = self.encode(self.raw_request, other)
        except Rejection as rejection:
            refusal = envelope(rejection)
            if refusal != self.refusal:
                yield f"answer.{other.name}.json", pretty(refusal)
            return
        yield f"upstream_request.{other.name}.json", pretty(outgoing.body)
        losses = summarize(outgoing.losses)
        if self.refusal is not None or losses != summarize(self.outgoing.losses):
            yield f"report.{other.name}.json", pretty(msgspec.json.encode(losses))

    def _toml(self) -> dict[str, Any]:
        path = self.path / "profile.toml"
        return tomllib.loads(path.read_text("utf-8")) if path.exists() else {}


def speaking(dialect: Upstream, profile: Profile) -> Profile:
    """The rules of the same model behind an upstream of this dialect."""
    return replace(profile, endpoint=EndpointRules(dialect.name))


def envelope(rejection: Rejection) -> bytes:
    """The client's error."""
    return json.dumps(encode_failure(rejection.failure, "req_case")).encode()


def all_cases() -> list[Path]:
    """Every case directory, whatever its dialect."""
    return sorted(path for path in CASES.glob("*/*") if path.is_dir())


def name_of(path: Path) -> str:
    return path.relative_to(CASES).as_posix()


def pretty(body: bytes) -> bytes:
    """JSON as a person reads it; the order of keys is kept, since it is part of what is expected."""
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False).encode() + b"\n"


def compact(value: Any) -> bytes:
    """JSON as clients write it; half a surrogate pair stays an escape."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def _reply(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    calls = [block for block in content if block["type"] == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": block["id"], "content": "done"} for block in calls]
    return results or [{"type": "text", "text": "Go on."}]
