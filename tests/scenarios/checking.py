"""What the rules of every dialect are written with."""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

Json = dict[str, Any]

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
IMAGE_URL = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,(.*)", re.DOTALL)
FILE_URL = re.compile(r"data:[a-z]+/[a-z0-9.+-]+;base64,(.*)", re.DOTALL)


class MalformedError(Exception):
    """The request breaks a rule; the message names the place, `code` is the provider's word for it."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status


def parse(raw: bytes) -> Json:
    """Decode a request body, refusing what lenient JSON parsers let pass."""

    def unique(pairs: list[tuple[str, Any]]) -> Json:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise MalformedError(f"duplicate keys in one object: {sorted(keys)}")
        return dict(pairs)

    def constant(word: str) -> Any:
        raise MalformedError(f"{word} is not JSON")

    try:
        body = json.loads(raw.decode(), object_pairs_hook=unique, parse_constant=constant)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise MalformedError(f"We could not parse the JSON body of your request: {error}") from error
    return an_object(body, "body")


def an_object(value: Any, where: str) -> Json:
    """`value`, which has to be an object."""
    require(isinstance(value, dict), f"Invalid type for '{where}': expected an object, got {type(value).__name__}")
    return cast(Json, value)


def a_list(value: Any, where: str) -> list[Any]:
    """`value`, which has to be a list with something in it."""
    require(isinstance(value, list) and bool(value), f"Invalid '{where}': expected a non-empty array")
    return cast(list[Any], value)


def a_text(value: Any, where: str) -> str:
    """`value`, which has to be a string with something in it."""
    require(isinstance(value, str) and bool(value), f"Invalid '{where}': expected a non-empty string, got empty string")
    return cast(str, value)


def require(condition: bool, message: str, param: str | None = None) -> None:
    """Refuse the request unless the condition holds."""
    if not condition:
        raise MalformedError(message, param=param, code="invalid_value")


def only(found: Iterable[str], allowed: Iterable[str], where: str) -> None:
    """Refuse fields that nobody defined."""
    unknown = sorted(set(found) - set(allowed))
    if unknown:
        raise MalformedError(
            f"Unrecognized request argument supplied: {where}{unknown[0]}", param=unknown[0], code="unknown_parameter"
        )


def objects(value: Any) -> Iterator[Json]:
    """Every object at any depth."""
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from objects(child)
    elif isinstance(value, list):
        for child in value:
            yield from objects(child)


def check_model(body: Json, model: str) -> None:
    """Only one model is served."""
    if body.get("model") != model:
        raise MalformedError(
            f"The model `{body.get('model')}` does not exist or you do not have access to it.",
            code="model_not_found",
            status=404,
        )


def check_arguments(arguments: Any, where: str) -> None:
    """Arguments are a JSON object in a string."""
    require(isinstance(arguments, str), f"Invalid type for '{where}': expected a string")
    try:
        value = json.loads(arguments)
    except json.JSONDecodeError as error:
        raise MalformedError(f"Invalid '{where}': not JSON ({error})") from error
    require(isinstance(value, dict), f"Invalid '{where}': not a JSON object")


def check_base64(data: str, where: str) -> None:
    """Base64 of something."""
    try:
        decoded = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise MalformedError(f"Invalid '{where}': not base64") from error
    require(bool(decoded), f"Invalid '{where}': no data")


def check_url(url: str, form: re.Pattern[str], where: str) -> None:
    """A web address or a data URL of the right kind."""
    if url.startswith(("http://", "https://")):
        return
    match = form.fullmatch(url)
    require(match is not None, f"Invalid '{where}': expected a data URL, got {url[:40]!r}")
    check_base64(cast(re.Match[str], match).group(1), where)
