"""Somebody deploys to the host just now: what is found there may be of the one state or the other."""

from ollama_fleet import controller
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.claim import CLAIM_QUESTION, read_claim
from ollama_fleet.questions import Answers

QUESTIONS = CLAIM_QUESTION


def under_way(host: str, answers: Answers) -> list[CheckResult]:
    """A warning while a deploy has claimed the host; nothing where none does."""
    claim = read_claim(answers)
    if claim is None or not claim.alive or controller.has_ended(claim.controller):
        return []
    return [
        CheckResult(
            host,
            "host",
            "deploy under way",
            "warning",
            "nobody changes the host meanwhile",
            f"{claim.who} deploys to it, since {claim.since}",
            "verify again when that has ended; what is found meanwhile may not be what stays",
        )
    ]
