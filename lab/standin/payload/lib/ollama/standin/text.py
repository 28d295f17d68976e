"""What the stand-in says: deterministic words, counted as tokens; and vectors for embeddings."""

import hashlib
import json
import math
import random
import re
from collections.abc import Iterator
from itertools import cycle, islice

DEFAULT_TOKENS = 32
SENTENCE = (
    "is answering from a simulated GPU of the lab. These words are always the same, so that two "
    "answers can be compared; they say nothing about the question that was asked."
)


def tokens(model: str, limit: int | None) -> Iterator[str]:
    """The words of an answer: 32 unless the request limits them or asks for more."""
    words = ["Here", f" {model}", *(f" {word}" for word in SENTENCE.split())]
    number = limit if limit and limit > 0 else DEFAULT_TOKENS
    return islice(cycle(words), number)


def json_tokens(value: object, limit: int | None) -> Iterator[str]:
    """JSON in pieces as a model writes it; cut off where the request's limit cuts it off."""
    pieces = re.findall(r"[^,:]+[,:]?|[,:]", json.dumps(value, ensure_ascii=False))
    return islice(pieces, limit if limit and limit > 0 else None)


def count_tokens(text: str) -> int:
    return len(text.split())


def embedding(text: str, length: int) -> list[float]:
    """A vector of length 1 that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    source = random.Random(seed)
    values = [source.uniform(-1, 1) for _ in range(length)]
    norm = math.sqrt(sum(value * value for value in values))
    return [value / norm for value in values]
