"""What only a real request proves: the API answers, the models are there, and tokens come. What is asked
stands in `requests`; where the weights lie is `weights`' matter.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ollama_fleet.checks import discovery, locks, requests, warm, weights
from ollama_fleet.checks.floor import speed_floor
from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.requests import documents, generations
from ollama_fleet.planner.plan import BoundSlice
from ollama_fleet.questions import json_object
from ollama_fleet.store import parse_name


def _api(subject: Subject) -> Iterator[CheckResult]:
    wanted = subject.plan.ollama.version
    answers = documents(subject.text("api"))
    for item in subject.slices:
        tags = answers.get(f"{item.plan.url}/api/tags", {})
        found = answers.get(f"{item.plan.url}/api/version", {}).get("version", "no answer")
        yield subject.result(
            item.plan.name,
            "api",
            good=found == wanted,
            expected=f"Ollama {wanted} on port {item.plan.port}",
            found=found,
            remedy=f"see `journalctl -u {item.plan.unit}`; deploy again",
        )
        yield _models(subject, item, tags)
    stores = (answers.get(f"{item.plan.url}/api/tags", {}) for item in subject.slices)
    yield from locks.locked_weights(subject, stores)


def _models(subject: Subject, item: BoundSlice, tags: dict[str, Any]) -> CheckResult:
    there = {parse_name(str(model.get("name"))) for model in tags.get("models") or []}
    missing = [model for model in item.plan.models if parse_name(model) not in there]
    result = subject.result(
        item.plan.name,
        "models",
        good=not missing,
        expected=", ".join(item.plan.models) or "none",
        found=f"{', '.join(missing)} missing" if missing else "in the store",
        remedy="deploy again: missing models are pulled",
    )
    return replace(result, alike=locks.unlocked(subject, tags))


def _inference(subject: Subject) -> Iterator[CheckResult]:
    if "generations" not in subject.answers:  # a quick verification asks for none
        return
    answers = generations(subject.text("generations"))
    for item in subject.slices:
        if not item.plan.models:
            continue
        raw = answers.get(item.plan.name, "")
        answer = json_object(raw)
        embedded = bool(answer.get("embeddings"))
        # A model that thinks may not have come to its answer within the few tokens that are asked.
        words = str(answer.get("response") or answer.get("thinking") or "")
        good = embedded or (answer.get("done") is True and bool(words))
        found = "an embedding" if embedded else words[:60]
        yield subject.result(
            item.plan.name,
            "inference",
            good=good,
            expected=f"{item.plan.models[0]} answers",
            found=found if good else str(answer.get("error") or raw[:200] or "no answer"),
            remedy=f"see `journalctl -u {item.plan.unit}`; the model may not fit its GPU",
        )
        if good and not embedded:
            yield _speed(subject, item, answer)


def _speed(subject: Subject, item: BoundSlice, answer: dict[str, Any]) -> CheckResult:
    duration_s = (answer.get("eval_duration") or 0) / 1e9
    speed = answer.get("eval_count", 0) / duration_s if duration_s else 0.0
    floor = speed_floor(subject, item)
    return subject.result(
        item.plan.name,
        "speed",
        good=speed >= floor,
        expected=f"at least {floor:.0f} tokens/s (half of the estimate's low end)",
        found=f"{speed:.1f} tokens/s",
        remedy="the GPU is not doing the work, or is throttled: see nvidia-smi -q -d PERFORMANCE",
    )


# Asked before everything else, so that the generations run meanwhile.
START = Check("start", lambda subject: (), requests.start_questions)
# What is in memory is asked when nobody is loading any more.
CHECKS = (
    warm.WAIT,
    Check("api", _api, requests.generation_questions),
    warm.CHECK,
    Check("inference", _inference),
    discovery.CHECK,
    weights.CHECK,
)
# Asked after all that needs what others kept.
TIDY = Check("tidy", lambda subject: (), requests.tidy_questions)
