"""Requests to a model registry, with the real client's demands and words; writes no file."""

import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from .manifests import MANIFEST_TYPE
from .names import ModelName

TIMEOUT_S = 30.0
MAX_REDIRECTS = 10
MAX_MANIFEST_BYTES = 4 << 20
REDIRECTS = (301, 302, 303, 307, 308)


class RegistryError(Exception):
    """The registry cannot be asked, or answered what we cannot use."""


class NotThereError(RegistryError):
    """The registry has no such thing."""


@dataclass(frozen=True)
class Registry:
    scheme: str
    name: ModelName

    @property
    def base(self) -> str:
        return f"{self.scheme}://{self.name.host}/v2/{self.name.namespace}/{self.name.model}"

    def manifest(self) -> bytes:
        with _request("GET", f"{self.base}/manifests/{self.name.tag}", Accept=MANIFEST_TYPE) as got:
            return got.read(MAX_MANIFEST_BYTES)

    def blob_bytes(self, digest: str) -> int:
        with _request("HEAD", f"{self.base}/blobs/{digest}") as got:
            return int(got.headers.get("Content-Length") or 0)

    def direct_url(self, digest: str) -> str:
        """Where the blob is: redirects on this host are followed, then Location is needed."""
        url = f"{self.base}/blobs/{digest}"
        for _ in range(MAX_REDIRECTS):
            with _request("GET", url) as got:
                location = got.headers.get("Location")
                if not location:
                    raise RegistryError("http: no Location header in response")
                target = urljoin(url, location)
                if got.status == 200 or urlsplit(target).hostname != urlsplit(url).hostname:
                    return target
            url = target
        raise RegistryError("maximum redirects exceeded (10) for directURL")


@contextmanager
def ranged(url: str, first: int, last: int) -> Iterator[http.client.HTTPResponse]:
    """The bytes first…last of a blob; like the real client, without a look at the status."""
    with _send("GET", url, {"Range": f"bytes={first}-{last}"}) as response:
        yield response


@contextmanager
def _request(method: str, url: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
    with _send(method, url, headers) as response:
        if response.status == 404:
            raise NotThereError("file does not exist")
        if response.status >= 400:
            text = response.read(2048).decode(errors="replace").strip()
            raise RegistryError(f"{response.status}: {text}")
        yield response


@contextmanager
def _send(method: str, url: str, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    proxy = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    connection = kind(urlsplit(proxy).netloc if proxy else parts.netloc, timeout=TIMEOUT_S)
    if proxy and parts.scheme == "https":
        connection.set_tunnel(parts.netloc)
    elif proxy:
        path = url
    try:
        connection.request(method, path, headers={"User-Agent": "ollama/stand-in", **headers})
        response = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        port = connection.port
        raise RegistryError(_go_words(method, url, f"{connection.host}:{port}", error)) from error
    try:
        yield response
    finally:
        connection.close()


def _go_words(method: str, url: str, address: str, error: Exception) -> str:
    """The error as Go would put it."""
    host = address.rpartition(":")[0]
    if isinstance(error, socket.gaierror):
        reason = f"dial tcp: lookup {host}: no such host"
    elif isinstance(error, TimeoutError):
        reason = f"dial tcp {address}: i/o timeout"
    elif isinstance(error, OSError) and error.errno:
        reason = f"dial tcp {address}: connect: {os.strerror(error.errno).lower()}"
    else:
        reason = str(error) or "EOF"
    return f'{method.title()} "{url}": {reason}'
