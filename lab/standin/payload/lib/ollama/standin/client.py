"""The command's HTTP client to OLLAMA_HOST: whole answers and streams of records."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

from .settings import Address


class NoServerError(Exception):
    """Nothing answers at OLLAMA_HOST."""


class ServerSaidError(Exception):
    """The server answered with an error."""


def call(address: Address, method: str, path: str, body: object = None) -> Any:
    """The whole answer; None when it is empty."""
    return next(iter([*records(address, method, path, body)][-1:]), None)


def records(address: Address, method: str, path: str, body: object = None) -> Iterator[Any]:
    host = "127.0.0.1" if address.host in ("", "0.0.0.0", "::") else address.host
    connection = http.client.HTTPConnection(host, address.port)
    content = json.dumps(body).encode() if body is not None else None
    try:
        connection.request(method, path, content, {"Content-Type": "application/json"})
        response = connection.getresponse()
    except OSError as error:
        raise NoServerError from error
    for line in response:
        if not line.strip():
            continue
        record = json.loads(line) if line.startswith(b"{") else {"error": line.decode().strip()}
        if "error" in record:
            raise ServerSaidError(record["error"])
        yield record
    if response.status >= 400:
        raise ServerSaidError(f"{response.status} {response.reason}")
