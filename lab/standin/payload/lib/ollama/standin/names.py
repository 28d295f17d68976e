"""Names of models: host/namespace/model:tag, with the defaults that may be left out."""

import re
from dataclasses import dataclass

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:\-]{0,349}")
NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,79}")
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,79}")


class BadNameError(Exception):
    """The text is no name of a model."""


@dataclass(frozen=True)
class ModelName:
    host: str
    namespace: str
    model: str
    tag: str

    @property
    def full(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    def __str__(self) -> str:
        """The shortest form, always with the tag."""
        parts = [self.model]
        if (self.host, self.namespace) != (DEFAULT_HOST, DEFAULT_NAMESPACE):
            parts.insert(0, self.namespace)
        if self.host != DEFAULT_HOST:
            parts.insert(0, self.host)
        return f"{'/'.join(parts)}:{self.tag}"


def parse(text: str) -> ModelName:
    """A name from what a client wrote; BadNameError when it is none."""
    *front, last = text.rpartition("://")[2].split("/")
    model, _, tag = last.partition(":")
    host, namespace = (["", "", *front])[-2:]
    name = ModelName(
        host or DEFAULT_HOST, namespace or DEFAULT_NAMESPACE, model, tag or DEFAULT_TAG
    )
    rules = ((HOST, name.host), (NAMESPACE, name.namespace), (PART, model), (PART, name.tag))
    if len(front) > 2 or not all(rule.fullmatch(part) for rule, part in rules):
        raise BadNameError(text)
    return name
