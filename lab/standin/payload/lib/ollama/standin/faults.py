"""Faults that can be switched on from outside; they come with the driver's answers."""

import os
from dataclasses import dataclass
from typing import Any

from .devices import Driver


@dataclass(frozen=True)
class Faults:
    is_hung: bool
    crashes_at_load: bool
    tokens_per_s: float | None

    def limited(self, tokens_per_s: float) -> float:
        return tokens_per_s if self.tokens_per_s is None else self.tokens_per_s


def read(driver: Driver, port: int) -> Faults:
    """The faults that are on for this server; one with {"server": true} ends it here and now."""
    found = driver.faults().items()
    answer = {name: parameters or {} for name, parameters in found if _concerns(parameters, port)}
    crashed = answer.get("ollama-crashed")
    if crashed is not None and crashed.get("server"):
        os._exit(1)
    slow = answer.get("ollama-slow")
    return Faults(
        is_hung="ollama-hung" in answer,
        crashes_at_load=crashed is not None,
        tokens_per_s=None if slow is None else float(slow.get("tokens_per_s", 1.0)),
    )


def _concerns(parameters: dict[str, Any] | None, port: int) -> bool:
    """A fault is for every server of the host, unless its parameters name a port."""
    return str((parameters or {}).get("port", port)) == str(port)
