"""Whom TLS trusts. What connections do with it is tested in tests/security/test_network.py."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from latimer.errors import ConfigError
from latimer.shell.http import trust
from latimer.shell.http.trust import SYSTEM, Trust, has_roots, tls_context
from tests.faults.certificates import certificate


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()


def roots(given: Trust) -> int:
    return int(tls_context(given).cert_store_stats()["x509"])


def test_the_systems() -> None:
    context = tls_context(SYSTEM)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert tls_context(Trust()) is context


def test_what_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(tmp_path / "one.pem")))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert roots(SYSTEM) == 1


def test_a_providers_roots_stand_beside_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(tmp_path / "one.pem")))
    assert roots(Trust(ca_file=str(certificate(tmp_path / "two.pem")))) == 2
    assert roots(SYSTEM) == 1


def test_a_python_that_looks_in_the_wrong_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that was built on another system."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: None)
    monkeypatch.setattr(trust, "has_roots", lambda: False)
    bundle = certificate(tmp_path / "bundle.pem")
    monkeypatch.setattr(trust, "KNOWN_BUNDLES", (str(tmp_path / "missing.pem"), str(bundle)))
    assert roots(SYSTEM) == 1


def test_where_roots_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def says(cafile: str | None, capath: Path | None) -> None:
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: SimpleNamespace(cafile=cafile, capath=capath))

    says(None, None)
    assert not has_roots()
    says(None, tmp_path)
    assert not has_roots()
    (tmp_path / "0a1b2c3d.0").touch()
    assert has_roots()
    says("/etc/bundle.pem", None)
    assert has_roots()


def test_on_macos_and_windows_the_operating_system_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    made: list[int] = []

    def context(protocol: int) -> ssl.SSLContext:
        made.append(protocol)
        return ssl.create_default_context()

    monkeypatch.setattr(trust, "import_module", lambda _: SimpleNamespace(SSLContext=context))
    monkeypatch.setattr(trust.sys, "platform", "darwin")
    tls_context(SYSTEM)
    assert made == [ssl.PROTOCOL_TLS_CLIENT]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Trust(ca_file="relative.pem"), "ca_file: relative.pem should be an absolute path"),
        (Trust(ca_file="/nowhere/ca.pem"), "ca_file: /nowhere/ca.pem could not be read: No such file"),
        (Trust(client_key_file="/key.pem"), "client_key_file belongs to a client_cert_file"),
    ],
)
def test_files_that_cannot_be_used(given: Trust, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        tls_context(given)


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("hello")
    for given in (Trust(ca_file=str(text)), Trust(client_cert_file=str(text))):
        with pytest.raises(ConfigError, match="is not a PEM file that can be used"):
            tls_context(given)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    pair = certificate(tmp_path / "pair.pem").read_bytes()
    key = serialization.load_pem_private_key(pair, None)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    )
    (tmp_path / "locked.pem").write_bytes(secret)
    given = Trust(client_cert_file=str(tmp_path / "pair.pem"), client_key_file=str(tmp_path / "locked.pem"))
    with pytest.raises(ConfigError, match="its key is encrypted"):
        tls_context(given)
