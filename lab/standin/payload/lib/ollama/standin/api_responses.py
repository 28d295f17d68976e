"""OpenAI's newer /v1/responses: the same answers once more, whole or as named events."""

import json
import time
from collections.abc import Iterator
from typing import Any

from . import media
from .api_openai import asked, usage_of
from .app import App
from .conversation import Conversation, of_openai
from .exchange import Exchange
from .inference import Answer, unseen
from .tools import calls_for, openai_calls

Event = tuple[str, dict[str, Any]]


def responses(app: App, exchange: Exchange) -> None:
    request = exchange.json_body()
    messages = _messages(request.get("input"))
    conversation = _conversation(messages)
    tools = [{"type": "function", "function": tool} for tool in request.get("tools") or []]
    answer = asked(app, exchange, {**request, "tools": tools})
    answer.image_tokens = media.tokens_of(answer.model, conversation.images)
    calls = openai_calls(calls_for({"tools": tools, "messages": messages}))
    words = answer.tokens(conversation.prompt or " ")
    spoken = unseen(words) if calls else words
    if not request.get("stream"):
        text = "".join(spoken)
        items = [_called(call) for call in calls] or [_message(text)]
        return exchange.send_json(_response(answer, request, "completed", items))
    for number, (kind, content) in enumerate(_events(answer, request, spoken, calls)):
        document = {"type": kind, "sequence_number": number, **content}
        exchange.write_event(_text(document), kind)
    return None


def _messages(given: object) -> list[dict[str, Any]]:
    """The input as messages; what a tool answered counts as a message of the tool."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    entries = given if isinstance(given, list) else []
    roles = {"function_call_output": "tool", "function_call": "assistant"}
    return [{"role": roles.get(str(entry.get("type")), "user"), **entry} for entry in entries]


def _conversation(messages: list[dict[str, Any]]) -> Conversation:
    texts = [
        {**entry, "content": entry.get("content", entry.get("output", " "))} for entry in messages
    ]
    return of_openai(texts)


def _message(words: str, status: str = "completed") -> dict[str, Any]:
    part = {"type": "output_text", "text": words, "annotations": [], "logprobs": []}
    content = [part] if status == "completed" else []
    return {
        "id": "msg_lab",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _called(call: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"fc_{call['id']}",
        "type": "function_call",
        "status": "completed",
        "call_id": call["id"],
        **call["function"],
    }


def _response(answer: Answer, request: dict[str, Any], status: str, items: list[Any]) -> Any:
    used = usage_of(answer)
    usage = {
        "input_tokens": used["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": used["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": used["total_tokens"],
    }
    return {
        "id": f"resp_{id(answer) % 1_000_000}",
        "object": "response",
        "created_at": int(answer.timing.started_at),
        "completed_at": int(time.time()) if status == "completed" else None,
        "status": status,
        "model": request["model"],
        "output": items,
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": request.get("tools") or [],
        "text": {"format": {"type": "text"}},
        "temperature": 1.0,
        "top_p": 1.0,
        "truncation": "disabled",
        "metadata": {},
        "usage": usage if status == "completed" else None,
    }


def _events(
    answer: Answer, request: dict[str, Any], spoken: Iterator[str], calls: list[dict[str, Any]]
) -> Iterator[Event]:
    first = next(spoken, "")  # nothing is sent before the first word, not even that it began
    begun = {"response": _response(answer, request, "in_progress", [])}
    yield "response.created", begun
    yield "response.in_progress", begun
    if calls:
        items = [_called(call) for call in calls]
        for index, item in enumerate(items):
            yield from _call_events(index, item)
    else:
        words: list[str] = []
        yield from _word_events(first, spoken, words)
        items = [_message("".join(words))]
        yield "response.output_item.done", {"output_index": 0, "item": items[0]}
    yield "response.completed", {"response": _response(answer, request, "completed", items)}


def _call_events(index: int, item: dict[str, Any]) -> Iterator[Event]:
    place = {"item_id": item["id"], "output_index": index}
    started = {**item, "status": "in_progress", "arguments": ""}
    written = item["arguments"]
    yield "response.output_item.added", {"output_index": index, "item": started}
    yield "response.function_call_arguments.delta", {**place, "delta": written}
    yield "response.function_call_arguments.done", {**place, "arguments": written}
    yield "response.output_item.done", {"output_index": index, "item": item}


def _word_events(first: str, spoken: Iterator[str], words: list[str]) -> Iterator[Event]:
    """The events of a message; its words are added to the list."""
    item, empty = _message("", "in_progress"), _message("")["content"][0]
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    yield "response.output_item.added", {"output_index": 0, "item": item}
    yield "response.content_part.added", {**place, "part": empty}
    word: str | None = first
    while word is not None:
        words.append(word)
        yield "response.output_text.delta", {**place, "delta": word, "logprobs": []}
        word = next(spoken, None)
    text = "".join(words)
    yield "response.output_text.done", {**place, "text": text, "logprobs": []}
    yield "response.content_part.done", {**place, "part": {**empty, "text": text}}


def _text(document: object) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
