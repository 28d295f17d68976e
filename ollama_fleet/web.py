"""HTTP as this machine speaks it: one session for each thread, time limits, further tries, and words
for what goes wrong.

Proxies of the environment and logins of ~/.netrc count, as in curl. Bytes come as they are sent: what
a digest is known of must not be unpacked on the way. Imports none of ours.
"""

import re
import threading
from collections.abc import Iterator

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

# To connect, and between two pieces of an answer.
TIMEOUTS_S = (15.0, 60.0)
# After the first failure in a row it waits 0.5 s, then 1, 2, 4.
TRIES = 4
BUSY = (408, 425, 429, 500, 502, 503, 504)
PIECE_BYTES = 2**17
LARGEST_TEXT_BYTES = 256 * 2**20

_local = threading.local()


class FetchError(Exception):
    """An address that gives nothing usable; the text names it, and why. `status` is None where no
    answer came; `broke_off`: it came, and ended early."""

    def __init__(self, what: str, status: int | None = None, *, broke_off: bool = False) -> None:
        self.status, self.broke_off = status, broke_off
        super().__init__(what)

    @property
    def not_there(self) -> bool:
        """Whether the server has no such thing."""
        return self.status in (404, 410)


def ask(
    url: str,
    *,
    first: int = 0,
    headers: dict[str, str] | None = None,
    auth: AuthBase | None = None,
) -> requests.Response:
    """The answer to one request, its content not read yet; also one that says no.

    Busy servers are asked again. Raises FetchError where none answers.

    + first: byte to begin with, where the server can
    """
    wanted = {"Accept-Encoding": "identity", **(headers or {})}
    if first:
        wanted["Range"] = f"bytes={first}-"
    try:
        return _session().get(
            url,
            headers=wanted,
            auth=auth,
            stream=True,
            timeout=TIMEOUTS_S,
            allow_redirects=True,
        )
    except (requests.RequestException, HTTPError) as error:
        raise FetchError(f"{url} cannot be fetched: {why_not(error)}") from None


def good(answer: requests.Response) -> requests.Response:
    """The answer itself, if it is a yes. Raises FetchError with its status else."""
    if answer.ok:
        return answer
    status, url = answer.status_code, answer.url
    answer.close()
    said = f"{status} {answer.reason or ''}".strip()
    raise FetchError(f"{_plain(url)}: the server says {said}{_advice(status)}", status)


def open_at(url: str, first: int = 0) -> requests.Response:
    """What an address has, from byte `first` on. Raises FetchError."""
    return good(ask(url, first=first))


def pieces(answer: requests.Response) -> Iterator[bytes]:
    """Content of an answer as it was sent. Raises FetchError where it ends early."""
    try:
        with answer:
            yield from answer.raw.stream(PIECE_BYTES, decode_content=False)
    except (requests.RequestException, HTTPError, OSError) as error:
        what = f"{_plain(answer.url)} broke off: {why_not(error)}"
        raise FetchError(what, broke_off=True) from None


def content(url: str, most: int = LARGEST_TEXT_BYTES) -> bytes:
    """All that an address has. Raises FetchError."""
    return whole(good(ask(url)), most)


def whole(answer: requests.Response, most: int = LARGEST_TEXT_BYTES) -> bytes:
    """Content of an answer, at most `most` bytes. Raises FetchError."""
    found = bytearray()
    for piece in pieces(answer):
        found += piece
        if len(found) > most:
            answer.close()
            raise FetchError(f"{_plain(answer.url)} is no such thing: larger than {most} bytes")
    return bytes(found)


def length_of(url: str) -> int | None:
    """Bytes that an address has; None where the server does not tell. Raises FetchError."""
    # Not HEAD: what a release redirects to may be signed for GET alone.
    with good(ask(url, headers={"Range": "bytes=0-0"})) as answer:
        _, _, whole = answer.headers.get("Content-Range", "").rpartition("/")
        said = whole or answer.headers.get("Content-Length", "")
    return int(said) if said.isdecimal() else None


def _session() -> requests.Session:
    session: requests.Session | None = getattr(_local, "session", None)
    if session is None:
        session = requests.Session()
        session.headers["User-Agent"] = "ollama-fleet"
        retries = Retry(
            total=TRIES,
            backoff_factor=0.5,
            status_forcelist=BUSY,
            allowed_methods=("GET",),
            raise_on_status=False,
            # What a server asks for may be hours.
            respect_retry_after_header=False,
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        _local.session = session
    return session


def _plain(url: str) -> str:
    """Without the signature that a redirect may have put there."""
    return url.partition("?")[0]


def _advice(status: int) -> str:
    if status in (401, 403):
        return "; it wants a login: put one into ~/.netrc"
    return ""


def why_not(error: Exception) -> str:
    """The innermost reason of a failed request, without the objects around it."""
    cause: BaseException = error
    while True:
        inner = getattr(cause, "reason", None) or next(iter(cause.args), None)
        if not isinstance(inner, BaseException):
            break
        cause = inner
    said = str(cause.args[-1] if cause.args else cause).strip() or type(error).__name__
    return re.sub(r"^(?:<.*?>|\w+\(.*?\)): ", "", said)
