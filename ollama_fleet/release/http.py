"""How this machine asks for releases; time limits and words for errors are those of all its requests."""

from ollama_fleet.web import TIMEOUTS_S, why_not

__all__ = ["HEADERS", "TIMEOUTS_S", "why_not"]

HEADERS = {"User-Agent": "ollama-fleet"}
