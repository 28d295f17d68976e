"""What a card itself remembers over reloads and reboots: ECC mode and, on Ampere, MIG mode."""

from __future__ import annotations

import json
import os
from typing import Any

from . import paths


def path() -> str:
    return f"{paths.HW}/inforom.json"


def read(gpu_uuid: str) -> dict[str, Any]:
    found = _all().get(gpu_uuid)
    return found if isinstance(found, dict) else {}


def remember(gpu_uuid: str, key: str, value: bool) -> None:
    content = _all()
    content.setdefault(gpu_uuid, {})[key] = value
    staged = f"{path()}.staged"
    with open(staged, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, sort_keys=True)
        file.write("\n")
    os.replace(staged, path())


def _all() -> dict[str, Any]:
    try:
        with open(path(), encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
