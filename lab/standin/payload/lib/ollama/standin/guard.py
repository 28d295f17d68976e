"""Who may ask: the Host check of a loopback listener and the origins of browsers; no I/O."""

import fnmatch
import ipaddress
import socket
from urllib.parse import urlsplit

LOCAL_SUFFIXES = (".localhost", ".local", ".internal")
LOCAL_ORIGINS = ("localhost", "127.0.0.1", "0.0.0.0")
LOCAL_SCHEMES = ("app", "file", "tauri", "vscode-webview", "vscode-file")


def is_loopback(address: str) -> bool:
    """Whether the listener is one; only then the Host header is checked."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def allows_host(header: str) -> bool:
    """Whether the Host header names this machine, against DNS rebinding."""
    host = urlsplit(f"//{header}").hostname or ""
    if host in ("", "localhost", socket.gethostname().lower()) or host.endswith(LOCAL_SUFFIXES):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified


def allows_origin(origin: str, extra: tuple[str, ...]) -> bool:
    """Whether a browser page from there may ask; no Origin at all is no browser."""
    if not origin or any(fnmatch.fnmatchcase(origin, pattern) for pattern in extra):
        return True
    parts = urlsplit(origin)
    return parts.scheme in LOCAL_SCHEMES or parts.hostname in LOCAL_ORIGINS
