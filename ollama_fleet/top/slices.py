"""One slice as it is now, of its host's frame and of what gateways logged. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ollama_fleet.draining import DRAINED_DIR, MARKS_DIR
from ollama_fleet.planner.plan import HostPlan, SlicePlan
from ollama_fleet.top.frame import MIB, Frame
from ollama_fleet.top.model import ModelNow, SliceNow
from ollama_fleet.top.seats import Board, seat
from ollama_fleet.top.traffic import Traffic
from ollama_fleet.watching.places import HEALTH_DIR, WATCHDOG_STATE

# Ollama writes a date centuries ahead for "for good".
FOR_GOOD_S = 10 * 365 * 86_400


def slice_now(
    plan: HostPlan | None, item: SlicePlan, frame: Frame, board: Board, logs: Sequence[Traffic]
) -> SliceNow:
    """A slice of the host that `frame` is of; `logs` of all gateways that are known."""
    unit = frame.units.get(item.unit, {})
    places_, instance = seat(item, board)
    down = frame.marks.get(f"{HEALTH_DIR}/{item.name}.down")
    rates = [log.of_slice(f"{plan.host if plan else ''}.{item.name}") for log in logs]
    restarts = unit.get("NRestarts", "")
    return SliceNow(
        name=item.name,
        port=item.port,
        gpus=places_,
        instance=instance,
        state=unit.get("ActiveState"),
        restarts=int(restarts[:9]) if restarts.isdecimal() else None,
        listens=item.port in frame.ports if frame.ports else None,
        models=_models(frame.models.get(f"{item.url}/api/ps", {}), frame.now),
        serves=_serves(plan, item, down),
        silence=(down or "").strip(),
        drained=_drained(frame.marks, item.name),
        quarantined=_quarantined(frame.marks, item.name),
        running=frame.ports.get(item.port),
        requests_per_s=sum(rate.requests_per_s for rate in rates) if rates else None,
        tokens_per_s=sum(rate.tokens_per_s for rate in rates) if rates else None,
    )


def _serves(plan: HostPlan | None, item: SlicePlan, down: str | None) -> bool | None:
    """The health watch asks only slices that keep their models."""
    if down is not None:
        return False
    asked = plan and item.environment.get("OLLAMA_KEEP_ALIVE", "").startswith("-")
    return True if asked else None


def _models(answer: Mapping[str, Any], now: int | None) -> tuple[ModelNow, ...] | None:
    """What `/api/ps` lists; None where it gave no answer."""
    listed = answer.get("models")
    if "models" not in answer or not isinstance(listed, list | None):
        return None
    rows = [row for row in listed or [] if isinstance(row, dict)]
    return tuple(
        ModelNow(
            str(row.get("name")),
            _mib(row.get("size")),
            _mib(row.get("size_vram")),
            _kept_s(row.get("expires_at"), now),
            row["context_length"] if isinstance(row.get("context_length"), int) else None,
        )
        for row in rows
    )


def _mib(value: Any) -> int:
    return int(value) // MIB if isinstance(value, int) and value > 0 else 0


def _kept_s(text: Any, now: int | None) -> int | None:
    try:
        left = datetime.fromisoformat(text).timestamp() - (now or 0)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return max(0, int(left)) if now and left < FOR_GOOD_S else None


def _drained(marks: Mapping[str, str], name: str) -> str:
    """By a person, or for the moment by a deploy; empty where it is in service."""
    if (text := marks.get(f"{DRAINED_DIR}/{name}")) is not None:
        said = dict(_words(text.splitlines()))
        why = f": {said['reason']}" if said.get("reason") else ""
        return f"since {said.get('since', 'some time')} by {said.get('by', 'somebody')}{why}"
    return "by a deploy" if f"{MARKS_DIR}/{name}" in marks else ""


def _words(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        key, _, value = line.partition(" ")
        yield key, value


def _quarantined(marks: Mapping[str, str], name: str) -> str:
    text = marks.get(f"{WATCHDOG_STATE}/{name}.quarantined")
    return "" if text is None else " ".join(text.split()) or "no reason given"
