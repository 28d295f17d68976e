"""Each GPU: it answers, its memory is sound, nothing slows it down, nobody logged a fault. One check for
each of these, so that one says what another does not hide.

What nvidia-smi does not know on a card or driver is never judged: there is no result then.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ollama_fleet.checks.gpu_values import Seen, asked, seen_gpus
from ollama_fleet.checks.model import Check, CheckResult, Subject

# Bits of clocks_event_reasons.active. Power caps are no trouble: they are how a card works.
SLOWED = {
    0x8: "slowed down by its hardware",
    0x40: "too hot: slowed down by its hardware",
    0x80: "slowed down by the power supply",
}
WARM = {0x20: "warm: the driver holds its clocks down"}
USUAL = {0x1: "idle", 0x4: "at its power limit"}

XIDS = {
    **dict.fromkeys((13, 31, 43, 45), "a program's fault"),
    48: "double-bit memory error",
    63: "a memory row is to be replaced at the next reset",
    64: "a memory row could not be replaced",
    74: "NVLink error",
    79: "fell off the bus",
    94: "memory error, contained",
    95: "memory error, uncontained",
    119: "GSP firmware does not answer",
    120: "GSP firmware error",
    154: "asks to be reset",
}
DRAIN = "drain its slice, reset the GPU or reboot; if it comes back, replace the card"


@dataclass(frozen=True)
class Finding:
    """What a check says of one GPU: what has to be mended, what is worth knowing, what was looked at."""

    evidence: str
    trouble: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


def answers(seen: Seen) -> Finding:
    """Whether it works for its driver; what the driver itself recommends is the best single sign."""
    gpu, action = seen.gpu, seen.values.get("gpu_recovery_action", "None")
    wants = action not in ("None", "") and not action.startswith(("[", "N/A"))
    trouble = (
        *(["lost: it does not answer the driver"] if gpu.lost else []),
        *(["wants a reset"] if seen.count("reset_status.reset_required") else []),
        *([f"wants: {action}"] if wants else []),
    )
    return Finding(f"{gpu.name}, {gpu.temperature_c} °C", trouble)


def ecc(seen: Seen) -> Finding | None:
    """Errors that ECC could not correct: what was computed since may be wrong."""
    count = seen.gpu.ecc_uncorrected
    if count is None:
        return None
    said = f"{count} uncorrected ECC errors since the driver loaded"
    return Finding(said, (said,) if count else ())


def rows(seen: Seen) -> Finding | None:
    """Rows that were replaced (Ampere and later) or pages that were retired (before)."""
    failure, pending = seen.count("remapped_rows.failure"), seen.count("remapped_rows.pending")
    pages = seen.count("retired_pages.pending")
    if (failure, pending, pages) == (None, None, None):
        return None
    done = [seen.count(f"remapped_rows.{kind}") or 0 for kind in ("correctable", "uncorrectable")]
    trouble = (
        *(["a memory row could not be replaced"] if failure else []),
        *(["a memory row is replaced at the next reset"] if pending else []),
        *(["memory pages are retired at the next reset"] if pages else []),
    )
    return Finding(f"{sum(done)} rows replaced" if pending is not None else "none waits", trouble)


def throttling(seen: Seen) -> Finding | None:
    """Why its clocks are what they are, by the driver's bits."""
    text = seen.values.get("clocks_event_reasons.active", "")
    if not re.fullmatch(r"0x[0-9a-fA-F]+", text):
        return None
    usual, slowed, warm = (_of_bits(int(text, 16), words) for words in (USUAL, SLOWED, WARM))
    return Finding(", ".join(usual) or "full clocks", slowed, warm)


def _of_bits(bits: int, words: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(text for bit, text in words.items() if bits & bit)


def pcie(seen: Seen) -> Finding | None:
    """Lanes of its link. Idle cards lower its speed, which is their right; lanes are lost in the slot."""
    width, most = (seen.count(f"pcie.link.width.{when}") for when in ("current", "max"))
    if not width or not most:
        return None
    said = f"{width} of {most} PCIe lanes"
    return Finding(said, advice=(f"{said}: models load slower",) if width < most else ())


def xid(seen: Seen) -> Finding:
    """What it broke shows in the values; a card that was mended keeps its line in the log."""
    said = (f"Xid {code} since its driver was loaded ({_meaning(code)})" for code in seen.xids)
    return Finding("none since its driver was loaded", advice=tuple(said))


def _meaning(code: int) -> str:
    return XIDS.get(code, "see NVIDIA's list of Xids")


@dataclass(frozen=True)
class Aspect:
    """One check of each GPU; `look` gives None where the card does not tell."""

    check: str
    look: Callable[[Seen], Finding | None]
    expected: str
    remedy: str


ASPECTS = (
    Aspect("gpu health", answers, "it answers, and wants no reset", DRAIN),
    Aspect("ecc", ecc, "none that ECC could not correct", DRAIN),
    Aspect("row remapping", rows, "no row or page waits for a reset", DRAIN),
    Aspect(
        "throttling",
        throttling,
        "not slowed down by its hardware",
        "see `nvidia-smi -q -d PERFORMANCE,TEMPERATURE,POWER`: air, power supply, cables",
    ),
    Aspect(
        "pcie width", pcie, "all of its lanes", "check the slot and the riser when there is time"
    ),
    Aspect("xid", xid, "no fault logged", "look at it when there is time; it serves"),
)


def _judge(aspect: Aspect) -> Check:
    def judged(subject: Subject) -> Iterator[CheckResult]:
        for seen in seen_gpus(subject):
            found = aspect.look(seen)
            if found is None:
                continue
            said = found.trouble + found.advice
            yield subject.result(
                f"gpu {seen.gpu.pci_bus_id}",
                aspect.check,
                good=not said,
                expected=aspect.expected,
                found="; ".join(said) or found.evidence,
                remedy=aspect.remedy,
                warns=not found.trouble,
            )

    return Check(aspect.check, judged, asked if aspect is ASPECTS[0] else lambda plan: {})


CHECKS = tuple(map(_judge, ASPECTS))
