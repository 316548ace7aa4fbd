"""Whom TLS connections trust, and what they show of themselves. There is no switch that turns verification off."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

from msgspec import Struct

from latimer.errors import ConfigError

KNOWN_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, BSDs, macOS
    "/usr/local/share/certs/ca-root-nss.crt",  # FreeBSD
)
"""Where systems keep their roots, as Go's crypto/x509 has them (root_linux.go, root_bsd.go): a Python that was not
built for this system, such as one of uv's or pyenv's, may look elsewhere."""


class Trust(Struct, frozen=True):
    """Of one provider: a PEM file with roots beside the system's, and a certificate of its client. '': none."""

    ca_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    """'': in the file of the certificate."""


SYSTEM = Trust()


@cache
def tls_context(trust: Trust) -> ssl.SSLContext:
    """The system's trust store, or what SSL_CERT_FILE and SSL_CERT_DIR name, and what the provider adds.

    Raises ConfigError for files that cannot be used.
    """
    context = _system()
    context.set_alpn_protocols(["http/1.1"])
    if trust.ca_file:
        _load(trust.ca_file, "ca_file", lambda path: context.load_verify_locations(cafile=path))
    if trust.client_cert_file:
        key = str(Path(trust.client_key_file).expanduser()) if trust.client_key_file else None
        _load(
            trust.client_cert_file,
            "client_cert_file",
            lambda path: context.load_cert_chain(path, key, password=_no_password),
        )
    elif trust.client_key_file:
        raise ConfigError("client_key_file belongs to a client_cert_file, which is missing")
    return context


def _system() -> ssl.SSLContext:
    named = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
    if not named and sys.platform in ("darwin", "win32"):
        # OpenSSL knows nothing of the keychain, and of Windows' store only what was used before.
        truststore = import_module("truststore")
        context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return context
    context = ssl.create_default_context()
    if not named and not has_roots():
        bundle = next((path for path in KNOWN_BUNDLES if Path(path).is_file()), "")
        if bundle:
            context.load_verify_locations(cafile=bundle)
    return context


def has_roots() -> bool:
    """Whether OpenSSL finds anything where it was built to look."""
    paths = ssl.get_default_verify_paths()
    folder = Path(paths.capath) if paths.capath else None
    return paths.cafile is not None or (folder is not None and any(folder.iterdir()))


def _load(name: str, key: str, load: Callable[[str], None]) -> None:
    path = Path(name).expanduser()
    if not path.is_absolute():
        raise ConfigError(f"{key}: {name} should be an absolute path, or one that begins with ~")
    try:
        load(str(path))
    except ssl.SSLError as error:
        raise ConfigError(f"{key}: {name} is not a PEM file that can be used: {error.reason or error}") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{key}: {name} could not be read: {why}") from None


def _no_password() -> str:
    raise ValueError("its key is encrypted; use one that is not, in a file of mode 600")
