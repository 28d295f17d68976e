"""The table of routes, and how any failure becomes an answer; the routes are in api_*."""

import re
import sys
from collections.abc import Callable
from http.client import responses

from . import api_native, api_openai, api_responses, api_store
from .app import App
from .exchange import ApiError, Exchange
from .gguf import BadGgufError
from .manifests import BadManifestError
from .pull import PullError
from .runner import ClientGoneError, RunnerDiedError
from .scheduler import LoadError, ServerBusyError
from .store import MissingModelError

Route = Callable[[App, Exchange], object]

CLIENT_CLOSED_REQUEST = 499
BUSY = "server busy, please try again.  maximum pending requests exceeded"

ROUTES: dict[str, dict[str, Route]] = {
    r"/": {"GET": api_store.root, "HEAD": api_store.root},
    r"/api/version": {"GET": api_store.version, "HEAD": api_store.version},
    r"/api/tags": {"GET": api_store.tags, "HEAD": api_store.tags},
    r"/api/status": {"GET": api_store.status},
    r"/api/ps": {"GET": api_store.ps},
    r"/api/show": {"POST": api_store.show},
    r"/api/pull": {"POST": api_store.pull},
    r"/api/create": {"POST": api_store.create},
    r"/api/blobs/([^/]+)": {"HEAD": api_store.has_blob, "POST": api_store.write_blob},
    r"/api/copy": {"POST": api_store.copy},
    r"/api/delete": {"DELETE": api_store.delete},
    r"/api/generate": {"POST": api_native.generate},
    r"/api/chat": {"POST": api_native.chat},
    r"/api/embed": {"POST": api_native.embed},
    r"/api/embeddings": {"POST": api_native.embeddings},
    r"/v1/models": {"GET": api_openai.models},
    r"/v1/models/([^/]+)": {"GET": api_openai.one_model},
    r"/v1/chat/completions": {"POST": api_openai.chat_completions},
    r"/v1/completions": {"POST": api_openai.completions},
    r"/v1/responses": {"POST": api_responses.responses},
    r"/v1/embeddings": {"POST": api_openai.embeddings},
}

OPENAI_ERRORS = {400: "invalid_request_error", 404: "not_found_error"}


def answer(app: App, exchange: Exchange, path: str) -> None:
    """Find the route of a request and run it; every failure ends as the real server's does."""
    try:
        _route(exchange, path)(app, exchange)
    except (ClientGoneError, BrokenPipeError, ConnectionResetError):
        exchange.status = exchange.status if exchange.has_begun else CLIENT_CLOSED_REQUEST
        exchange.handler.close_connection = True
        return
    except Exception as error:
        status, message = _judge(error)
        _fail(exchange, path, status, message)
    exchange.end_stream()


def _route(exchange: Exchange, path: str) -> Route:
    for pattern, methods in ROUTES.items():
        match = re.fullmatch(pattern, path)
        if match:
            exchange.parameter = match[1] if match.groups() else ""
            return methods.get(exchange.handler.command, _method_not_allowed)
    return _page_not_found


def _page_not_found(_app: App, exchange: Exchange) -> None:
    exchange.send_text("404 page not found", 404)


def _method_not_allowed(_app: App, exchange: Exchange) -> None:
    exchange.send_text("405 method not allowed", 405)


def _judge(error: Exception) -> tuple[int, str]:
    match error:
        case ApiError():
            return error.status, error.message
        case ServerBusyError():
            return 503, BUSY
        case MissingModelError():
            return 404, f"model '{error}' not found"
        case OSError() if error.filename:
            return 500, f"open {error.filename}: {(error.strerror or '').lower()}"
        case RunnerDiedError() | LoadError() | PullError() | BadGgufError() | BadManifestError():
            return 500, str(error)
    print(f'level=ERROR msg="unexpected" error={error!r}', file=sys.stderr, flush=True)
    return 500, str(error) or type(error).__name__


def _fail(exchange: Exchange, path: str, status: int, message: str) -> None:
    """An error as the last record of a stream, or as an answer of its own."""
    if path.startswith("/v1/"):
        kind = OPENAI_ERRORS.get(status, "api_error")
        detail = {"message": message, "type": kind, "param": None, "code": None}
        document: dict[str, object] = {"error": detail}
    else:
        document = {"error": message}
    print(
        f"level=INFO status={status} {responses.get(status, '')!r} error={message!r}",
        file=sys.stderr,
        flush=True,
    )
    if exchange.has_begun:
        exchange.write_record(document)
        return
    exchange.send_json(document, status)
