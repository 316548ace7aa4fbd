"""What OpenSSL's words mean; tests/doctor has the rules."""

import pytest

from latimer.policy.diagnosis.facts import Failing
from latimer.policy.diagnosis.network import failing_tls


@pytest.mark.parametrize(
    ("words", "failing"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:992)", "expired"),
        ("certificate verify failed: certificate is not yet valid", "expired"),
        ("certificate verify failed: Hostname mismatch, certificate is not valid for 'a.test'.", "name"),
        ("certificate verify failed: IP address mismatch, certificate is not valid for '127.0.0.1'.", "name"),
        ("certificate verify failed: unable to get local issuer certificate", "ca"),
        ("certificate verify failed: self-signed certificate in certificate chain", "ca"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "tls"),
    ],
)
def test_what_is_wrong_with_a_certificate(words: str, failing: Failing) -> None:
    assert failing_tls(words) == failing
