"""How this machine asks for releases: time limits, and errors in words."""

import re

import requests
from urllib3.exceptions import HTTPError

HEADERS = {"User-Agent": "ollama-fleet"}
# To connect, and between two pieces of an answer.
TIMEOUTS_S = (15.0, 60.0)


def why_not(error: requests.RequestException | HTTPError) -> str:
    """The innermost reason of a failed request, without the objects around it."""
    cause: BaseException = error
    while True:
        inner = getattr(cause, "reason", None) or next(iter(cause.args), None)
        if not isinstance(inner, BaseException):
            break
        cause = inner
    said = str(cause.args[-1] if cause.args else cause).strip() or type(error).__name__
    # `HTTPSConnection(host='…', port=443): Failed to …`, or `<… object at 0x…>: …`
    return re.sub(r"^(?:<.*?>|\w+\(.*?\)): ", "", said)
