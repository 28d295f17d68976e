"""The MIG profiles of every card that can be partitioned, read from mig_profiles.json.

A profile is what `nvidia-smi mig -lgip` lists: a size on the card's grid of memory slices, the
places where such an instance may start, and what it gets.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

FILE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "mig_profiles.json")


@dataclass(frozen=True)
class Profile:
    name: str  # 3g.40gb
    id: int
    size: int  # memory slices on the grid
    starts: tuple[int, ...]  # in the order in which the driver tries them
    most: int  # so many of them fit on an empty card
    compute: int  # compute slices
    memory_mib: int
    sm: int
    engines: tuple[int, ...]  # CE, DEC, ENC, JPEG, OFA

    def answers_to(self, wanted: str) -> bool:
        """Its id, its short name or its full name."""
        return wanted in (str(self.id), self.name, f"MIG {self.name}")


@dataclass(frozen=True)
class Layout:
    """How one card can be cut."""

    grid: int
    profiles: tuple[Profile, ...]

    def find(self, wanted: str) -> Profile | None:
        return next((one for one in self.profiles if one.answers_to(wanted)), None)


def layout_of(gpu: dict[str, Any]) -> Layout | None:
    """None for a card without MIG."""
    if not gpu.get("mig_capable"):
        return None
    with open(FILE, encoding="utf-8") as file:
        table = json.load(file)
    device = str(gpu["pci_device_id"])[2:6].upper()
    card = next((row for row in table["cards"] if device in row["devices"]), None)
    return card and _layout(table, card)


def _layout(table: dict[str, Any], card: dict[str, Any]) -> Layout:
    shape, engines = table["shapes"][card["shape"]], table["engines"][card["engines"]]
    profiles = []
    for row in shape["profiles"]:
        slot = row["slot"]
        found = {**row, **card["profiles"].get(slot, {})}
        if "name" not in found:
            continue
        del found["slot"]
        found |= {"starts": tuple(row["starts"]), "engines": tuple(engines[slot])}
        profiles.append(Profile(**found))
    return Layout(shape["grid"], tuple(profiles))
