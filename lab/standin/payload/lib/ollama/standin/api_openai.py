"""The OpenAI-compatible routes: the same answers in other shapes, errors in theirs too."""

import json
import time
from typing import Any

from .api_native import inputs_of, prompt_of
from .app import App
from .exchange import Exchange
from .inference import Answer, question

LIMITS = ("max_completion_tokens", "max_tokens")


def models(app: App, exchange: Exchange) -> None:
    exchange.send_json({"object": "list", "data": [_model(app, n) for n in app.store.names()]})


def one_model(app: App, exchange: Exchange) -> None:
    model = app.model(exchange.parameter)
    exchange.send_json(_model(app, model.name))


def _model(app: App, name: Any) -> dict[str, Any]:
    created = int(app.store.modified_s(name))
    return {"id": str(name), "object": "model", "created": created, "owned_by": name.namespace}


def chat_completions(app: App, exchange: Exchange) -> None:
    request = exchange.json_body()
    prompt = prompt_of(request.get("messages") or [])
    _complete(_question(app, exchange, request), request, prompt or " ", _chat_choice)


def completions(app: App, exchange: Exchange) -> None:
    request = exchange.json_body()
    prompt = " ".join(inputs_of(request.get("prompt")))
    _complete(_question(app, exchange, request), request, prompt or " ", _text_choice)


def embeddings(app: App, exchange: Exchange) -> None:
    request = exchange.json_body()
    answer = question(app, exchange, request, "embedding")
    vectors = answer.embed(inputs_of(request.get("input")))
    used = answer.timing.prompt_tokens
    exchange.send_json(
        {
            "object": "list",
            "model": request["model"],
            "data": [
                {"object": "embedding", "index": index, "embedding": vector}
                for index, vector in enumerate(vectors)
            ],
            "usage": {"prompt_tokens": used, "total_tokens": used},
        }
    )


def _question(app: App, exchange: Exchange, request: dict[str, Any]) -> Answer:
    limit = next((request[key] for key in LIMITS if request.get(key)), None)
    options = {} if limit is None else {"num_predict": limit}
    return question(app, exchange, {**request, "options": options}, "completion")


def _chat_choice(words: str, reason: str | None, is_chunk: bool) -> dict[str, Any]:
    key = "delta" if is_chunk else "message"
    message = {"role": "assistant", "content": words}
    return {"index": 0, key: message, "finish_reason": reason}


def _text_choice(words: str, reason: str | None, _is_chunk: bool) -> dict[str, Any]:
    return {"index": 0, "text": words, "finish_reason": reason}


def _complete(answer: Answer, request: dict[str, Any], prompt: str, choice: Any) -> None:
    exchange, is_stream = answer.exchange, bool(request.get("stream"))
    is_chat = choice is _chat_choice
    kind = "chat.completion" if is_chat else "text_completion"
    head = {
        "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{id(answer) % 1000}",
        "object": kind + (".chunk" if is_stream and is_chat else ""),
        "created": int(time.time()),
        "model": request["model"],
        "system_fingerprint": "fp_ollama",
    }
    words = answer.tokens(prompt)
    if not is_stream:
        whole = choice("".join(words), answer.done_reason, False)
        return exchange.send_json({**head, "choices": [whole], "usage": _usage(answer)})
    for word in words:
        exchange.write_event(_text({**head, "choices": [choice(word, None, True)]}))
    exchange.write_event(_text({**head, "choices": [choice("", answer.done_reason, True)]}))
    if (request.get("stream_options") or {}).get("include_usage"):
        exchange.write_event(_text({**head, "choices": [], "usage": _usage(answer)}))
    return exchange.write_event("[DONE]")


def _usage(answer: Answer) -> dict[str, int]:
    read, written = answer.timing.prompt_tokens, answer.timing.tokens
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }


def _text(document: object) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
