"""Messages of a chat, native or OpenAI's, as one text and its images."""

from dataclasses import dataclass, field
from typing import Any

from . import media
from .exchange import ApiError


@dataclass
class Conversation:
    texts: list[str] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)

    @property
    def prompt(self) -> str:
        return "\n".join(self.texts)


def of_native(messages: list[Any]) -> Conversation:
    """Content is text, images stand beside it."""
    found = Conversation()
    for message in _objects(messages):
        found.texts.append(str(message.get("content") or " "))
        found.images += media.native_images(message)
    return found


def of_openai(messages: list[Any]) -> Conversation:
    """Content is text, or a list of parts: texts and images."""
    found = Conversation()
    for message in _objects(messages):
        content = message.get("content")
        if isinstance(content, list):
            for part in content:
                _add_part(found, part)
        elif isinstance(content, str) or message.get("tool_calls"):
            found.texts.append(content or " ")
        else:
            raise ApiError(400, f"invalid message content type: {type(content).__name__}")
    return found


def _objects(messages: object) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not all(isinstance(entry, dict) for entry in messages):
        raise ApiError(400, "messages must be objects")
    return messages


def _add_part(found: Conversation, part: object) -> None:
    if not isinstance(part, dict):
        raise ApiError(400, "invalid message format")
    kind, words = part.get("type"), part.get("text")
    if kind in ("text", "input_text", "output_text") and isinstance(words, str):
        found.texts.append(words)
    elif kind in ("image_url", "input_image"):
        url = part.get("image_url")
        found.images.append(media.of_url(url.get("url") if isinstance(url, dict) else url))
    else:
        raise ApiError(400, "invalid message format")
