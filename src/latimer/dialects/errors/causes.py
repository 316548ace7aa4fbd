"""Why an upstream refused: its status, its code and type words and its wording, sorted into the causes that matter.

Evidence: the providers' error pages, their SDKs and client projects' error tables. A status is the weakest word:
providers send an empty balance as 400, 402, 403 and 429, and a wrong key as 400.
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

from .error_body import ErrorBody

Cause = Literal[
    "billing",
    "key",
    "filtered",
    "model",
    "access",
    "path",
    "size",
    "rate",
    "overloaded",
    "timeout",
    "conflict",
    "server",
    "invalid",
]


class Sign(Struct, frozen=True):
    """Words (code, type) and wordings that give a cause away, with one of these statuses (0: inside an answer)."""

    cause: Cause
    statuses: frozenset[int]
    words: frozenset[str]
    text: re.Pattern[str]


def _sign(cause: Cause, statuses: set[int], words: str = "", text: str = r"(?!)") -> Sign:
    return Sign(cause, frozenset(statuses), frozenset(words.split()), re.compile(text, re.IGNORECASE))


_SERVER = set(range(500, 600))
_ANY = {0, *range(400, 500), *_SERVER}

# First match wins. A bare number stands here only if no other provider gives it another meaning:
# 11xx to 13xx are Z.ai's, 10xx and 20xx MiniMax's.
SIGNS = (
    _sign(
        "billing",
        _ANY,
        "insufficient_quota billing_hard_limit_reached billing_not_active exceeded_current_quota_error"
        " usage_limit_reached usage_limit_exceeded insufficient_balance arrearage accountoverdueerror billing_error"
        " 1113 1308 1309 1310 1311 1312 1313 1314 1315 1316 1317 1318 1319 1320 1321 1008 2056",
        r"insufficient[ _](?:account )?(?:balance|credits?|funds|quota)|billing.hard.limit|more credits"
        r"|out of credits|credit balance is too low|balance is (?:too low|not enough)|payment required"
        r"|overdue (?:balance|payment|bill)|\barrear|account is in good standing|余额不足|欠费",
    ),
    _sign(
        "key",
        {0, 400, 403},
        "invalid_api_key api_key_invalid authentication_error authenticationerror invalid_authentication_error"
        " invalidapikey unauthenticated unauthorized 2049",
        r"(?:invalid|incorrect|wrong|missing|expired|no|unknown|revoked) api[- _]?key"
        r"|api[- _]?key (?:is |was |has )?(?:been )?(?:not valid|invalid|incorrect|expired|missing|revoked)"
        r"|authentication (?:failed|fails|required)|invalid authentication|login fail",
    ),
    _sign("key", {403}, text=r"\bapi[- _]?key\b|\b(?:access|bearer|auth) token\b|credential|unauthori[sz]ed"),
    _sign(
        "filtered",
        {0, 400, 403, 422, 451},
        "content_filter content_policy_violation data_inspection_failed datainspectionfailed invalid_prompt"
        " 1301 1026 1027",
        r"content[ _](?:management|policy|filter)|data_?inspection|responsible ?ai|flagged (?:by|for|as)"
        r"|requires moderation|inappropriate content|sensitive content|new_sensitive",
    ),
    _sign(
        "overloaded",
        {0, 429, *_SERVER},
        "overloaded overloaded_error engine_overloaded_error server_overloaded slow_down insufficient_system_resource"
        " 1305",
        r"overloaded|(?:at|no|over) capacity|insufficient_system_resource",
    ),
    _sign(
        "rate",
        {0},
        "rate_limit_exceeded rate_limit_error rate_limit_reached_error too_many_requests resource_exhausted throttling"
        " 1302 1039",
        r"rate.?limit|too many requests|throttl",
    ),
    _sign(
        "model",
        {0, 400, 404, 422},
        "model_not_found modelnotfound deploymentnotfound model_not_exist invalid_model 1211",
        r"\bmodels?\b\S*(?:\s+\S+){0,3}?\s+(?:(?:does )?not exist|(?:is )?not found|is not (?:a )?valid)"
        r"|(?:unknown|invalid|no such|not found the) model\b|not a valid model|no endpoints found"
        r"|deployment(?:\s+\S+){0,4}?\s+does not exist",
    ),
    _sign("timeout", {0}, "timeout timeout_error request_timeout", r"timed? ?out"),
    _sign(
        "invalid",
        {0},
        "invalid_request_error bad_request_error badrequesterror invalid_parameter_error invalid_argument"
        " invalidparameter unprocessable_entity_error validation_error",
    ),
)

BY_STATUS: dict[int, Cause] = {
    401: "key",
    402: "billing",
    403: "access",
    404: "path",
    405: "path",
    406: "path",
    407: "access",
    408: "timeout",
    409: "conflict",
    410: "path",
    413: "size",
    415: "path",
    429: "rate",
    498: "overloaded",  # Groq
    499: "server",
    501: "path",
    503: "overloaded",
    504: "timeout",
    524: "timeout",  # Cloudflare
    529: "overloaded",
}


def cause_of(status: int, error: ErrorBody) -> Cause:
    """The cause of a refusal. `status` is the HTTP status, or the one inside the body of a 200, or 0."""
    words = {word.lower() for word in error.words}
    # A web page comes from something before the API: its words are not the API's.
    text = "" if error.html else error.message[:4096]
    for sign in SIGNS:
        if status in sign.statuses and (not words.isdisjoint(sign.words) or sign.text.search(text)):
            return sign.cause
    if status == 404 and re.search(r"\bmodels?\b", text, re.IGNORECASE):
        return "model"
    if by_status := BY_STATUS.get(status):
        return by_status
    if 400 <= status < 500:
        return "invalid"
    return "path" if 0 < status < 400 else "server"
