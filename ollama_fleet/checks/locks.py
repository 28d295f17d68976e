"""The weights themselves: locked models are what the lock file says, and the others alike on all hosts."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ollama_fleet.checks.model import CheckResult, Subject
from ollama_fleet.store import parse_name

# As `ollama list` shows them.
SHORT = 12
Tags = Mapping[str, Any]


def digests_of(tags: Tags) -> dict[str, str]:
    """Path of a model's manifest to its digest (hex), out of an answer to /api/tags."""
    return {
        parse_name(str(model.get("name"))).path: str(model["digest"]).removeprefix("sha256:")
        for model in tags.get("models") or []
        if model.get("digest")
    }


def locked_weights(subject: Subject, answers: Iterable[Tags]) -> Iterator[CheckResult]:
    """Whether the store has what is locked; `answers` are those of the host's slices, which share it.

    A model that is missing altogether is the matter of each slice.
    """
    locked = subject.plan.store.locked
    found = next(filter(None, map(digests_of, answers)), {})
    if not locked or not found:
        return
    wrong = [
        f"{model.name} is {found[path][:SHORT]}, not {model.digest[:SHORT]}"
        for model in locked
        if (path := parse_name(model.name).path) in found and found[path] != model.digest
    ]
    yield subject.result(
        "host",
        "locked weights",
        good=not wrong,
        expected="the manifests that the lock file has",
        found="; ".join(wrong) or f"{len(locked)} models as locked",
        remedy="deploy again, which fetches the locked ones; or take what the tag means now with "
        "`fleet lock --update`",
    )


def unlocked(subject: Subject, tags: Tags) -> tuple[tuple[str, str], ...]:
    """Models that no lock file holds, with their digests: for comparing hosts."""
    found = digests_of(tags)
    return tuple(
        (model, found[path][:SHORT])
        for model in subject.plan.pulled
        if subject.plan.store.lock_of(model) is None and (path := parse_name(model).path) in found
    )


def differences(results: Iterable[CheckResult]) -> list[str]:
    """What hosts should have alike and do not, in words."""
    found: dict[str, dict[str, list[str]]] = {}
    for result in results:
        for what, value in result.alike:
            hosts = found.setdefault(what, {}).setdefault(value, [])
            if result.host not in hosts:
                hosts.append(result.host)
    return [
        f"{what} is not the same on all hosts: "
        + "; ".join(f"{value} on {', '.join(hosts)}" for value, hosts in values.items())
        + ". Its tag has moved in between; `fleet lock` and a deploy make it one"
        for what, values in found.items()
        if len(values) > 1
    ]
