"""Images in a request: decoded, counted, and refused as the real server and its runner do."""

import base64
import binascii
from typing import Any

from .exchange import ApiError
from .model import Model

KINDS = ("jpeg", "jpg", "png", "webp")
TOKENS_OF_AN_IMAGE = 768
REMOTE = "image URLs are not currently supported, please use base64 encoded data instead"
BLIND = (
    "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
)
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")


def native_images(holder: dict[str, Any]) -> list[bytes]:
    """The images of a message or of a generate request: base64 without anything before it."""
    images = holder.get("images") or []
    if not isinstance(images, list):
        raise ApiError(400, "json: cannot unmarshal into Go value of type []api.ImageData")
    return [_decoded(image) for image in images]


def _decoded(image: object) -> bytes:
    if not isinstance(image, str):
        raise ApiError(400, "json: cannot unmarshal into Go value of type api.ImageData")
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError) as error:
        position = next((i for i, c in enumerate(image) if not _is_base64(c)), len(image))
        raise ApiError(400, f"illegal base64 data at input byte {position}") from error


def _is_base64(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in "+/=")


def of_url(url: object) -> bytes:
    """The image of an OpenAI `image_url`, which has to be a data URI."""
    if not isinstance(url, str):
        raise ApiError(400, "invalid message format")
    if url.startswith(("http://", "https://")):
        raise ApiError(400, REMOTE)
    known = ["data:;base64,", *(f"data:image/{kind};base64," for kind in KINDS)]
    prefix = next((entry for entry in known if url.startswith(entry)), None)
    try:
        if prefix is None:
            raise ValueError(url[:20])
        return base64.b64decode(url.removeprefix(prefix), validate=True)
    except ValueError as error:
        raise ApiError(400, "invalid image input") from error


def tokens_of(model: Model, images: list[bytes]) -> int:
    """What the images cost; the runner's refusals for a model that can't see and for non-images."""
    if images and "vision" not in model.capabilities:
        raise ApiError(500, BLIND)
    if not all(image.startswith(SIGNATURES) for image in images):
        raise ApiError(400, "Failed to load image or audio file")
    return TOKENS_OF_AN_IMAGE * len(images)
