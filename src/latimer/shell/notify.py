"""Telling a service manager how things stand, as systemd's `sd_notify(3)` does: a datagram to `NOTIFY_SOCKET`.

Without that variable, which systemd sets for `Type=notify` and `Type=notify-reload`, nothing happens.
"""

from __future__ import annotations

import logging
import os
import socket
import time

log = logging.getLogger(__name__)

READY = "READY=1"
STOPPING = "STOPPING=1"


def notify(state: str) -> None:
    """Tell the service manager, if there is one. What cannot be told is only logged."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):  # Linux's abstract names begin with a zero byte
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.settimeout(1.0)
            to.sendto(state.encode(), address)
    except OSError as error:
        log.warning("the service manager could not be told %s: %s", state.partition("\n")[0], error.strerror)


def reloading() -> str:
    """That the configuration is being read. `READY` says that it is done."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"
