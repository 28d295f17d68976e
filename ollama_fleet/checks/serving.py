"""What only a real request proves: the API answers, the models are there, tokens come, and the
weights lie on the slice's own GPUs.

`/api/ps` alone is never believed: when Ollama cannot read its runner's log it reports the whole model
as being on the GPU. The driver's list of processes says whose memory is where. What is asked stands in
`requests`.
"""

import re
from collections.abc import Iterator
from typing import Any

from ollama_fleet.checks import requests
from ollama_fleet.checks.floor import speed_floor
from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.requests import document, documents, generations
from ollama_fleet.hardware import GpuProcess, parse_processes
from ollama_fleet.planner.plan import BoundSlice
from ollama_fleet.store import parse_name

# Weights that are resident in other than the slice's own GPUs, or in RAM, show as a gap between what
# Ollama says lies on the GPU and what the driver says its processes hold there.
LEAST_SHARE = 0.5


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


def _models(subject: Subject, item: BoundSlice, tags: dict[str, Any]) -> CheckResult:
    there = {parse_name(str(model.get("name"))) for model in tags.get("models") or []}
    missing = [model for model in item.plan.models if parse_name(model) not in there]
    return subject.result(
        item.plan.name,
        "models",
        good=not missing,
        expected=", ".join(item.plan.models) or "none",
        found=f"{', '.join(missing)} missing" if missing else "in the store",
        remedy="deploy again: missing models are pulled",
    )


def _inference(subject: Subject) -> Iterator[CheckResult]:
    answers = generations(subject.text("generations"))
    for item in subject.slices:
        if not item.plan.models:
            continue
        raw = answers.get(item.plan.name, "")
        answer = document(raw)
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


def _weights(subject: Subject) -> Iterator[CheckResult]:
    """By the driver's own list: memory of the slice's processes, on its GPUs and on others."""
    processes = parse_processes(subject.text("apps"))
    owner = _owners(subject.text("owners"))
    for item in subject.slices:
        if not item.plan.models:
            continue
        own = [process for process in processes if owner.get(process.pid) == item.plan.unit]
        yield _weights_of(subject, item, own)


def _weights_of(subject: Subject, item: BoundSlice, own: list[GpuProcess]) -> CheckResult:
    uuids = {*item.uuids, *_parent(subject, item)}
    here = [process.used_mib for process in own if process.gpu_uuid in uuids]
    held = sum(mib or 0 for mib in here)
    strays = sorted({p.gpu_uuid for p in own if p.gpu_uuid not in uuids})
    answers = documents(subject.text("api"))
    loaded = answers.get(f"{item.plan.url}/api/ps", {}).get("models") or []
    size_mib = sum(int(model.get("size", 0)) for model in loaded) // 2**20
    on_gpu_mib = sum(int(model.get("size_vram", 0)) for model in loaded) // 2**20
    found = f"{held} MiB held on its GPUs; Ollama says {on_gpu_mib} of {size_mib} MiB"
    # On an instance the driver may not tell how much a process holds; that it holds some is told.
    untold = bool(item.seat and size_mib and here and set(here) == {None})
    if strays:
        found += f"; also on {', '.join(strays)}"
    return subject.result(
        item.plan.name,
        "weights on gpu",
        good=not strays
        and on_gpu_mib == size_mib
        and (untold or held >= max(1, LEAST_SHARE * size_mib)),
        expected=f"all of the model on {item.place}",
        found=found,
        remedy="smaller context, q8_0 cache, a smaller model or more GPUs; if it should fit, see "
        f"`journalctl -u {item.plan.unit} | grep 'inference compute'`",
    )


def _parent(subject: Subject, item: BoundSlice) -> list[str]:
    """The UUID of an instance's GPU: drivers name the one or the other beside a process."""
    if not item.seat:
        return []
    return [g.uuid for g in subject.hardware.gpus if g.pci_bus_id == item.seat.address]


def _owners(text: str) -> dict[int, str]:
    """`/proc/<pid>/cgroup:0::/system.slice/ollama-chat.service` lines → pid to unit."""
    found = re.findall(r"^/proc/(\d+)/cgroup:.*/([^/\n]+\.service)\b", text, re.M)
    return {int(pid): unit for pid, unit in found}


# Asked before everything else, so that the generations run meanwhile.
START = Check("start", lambda subject: (), requests.start_questions)
CHECKS = (
    Check("api", _api, requests.generation_questions),
    Check("inference", _inference),
    Check("weights on gpu", _weights),
)
