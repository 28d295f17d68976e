"""Secure Boot: whether the firmware checks signatures, and whose it trusts (mok.json).

Keys are known by the digest of their certificate. A request to enrol becomes a trusted key only
when somebody confirms it at the console: the fault `mok-enrolled`, at the next boot.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from . import paths

STATE = f"{paths.HW}/mok.json"
CERTIFICATES = ("var/lib/shim-signed/mok/MOK.der", "var/lib/dkms/mok.pub")
VARIABLE = "firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def read() -> dict[str, Any]:
    """`enrolled` and `requested`, each a list of digests."""
    try:
        with open(STATE, encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        found = {}
    return {"enrolled": [], "requested": [], **found}


def write(state: dict[str, Any]) -> None:
    with open(f"{STATE}.new", "w", encoding="utf-8") as file:
        json.dump(state, file)
    os.replace(f"{STATE}.new", STATE)


def digest(certificate: str) -> str:
    """Raises OSError where there is no such file."""
    with open(certificate, "rb") as file:
        return hashlib.sha1(file.read(), usedforsecurity=False).hexdigest()


def certificate_of_dkms() -> str:
    """Where DKMS of this distribution keeps the certificate it signs with."""
    is_ubuntu = os.path.isdir(os.path.dirname(f"{paths.ROOT}/{CERTIFICATES[0]}"))
    return f"{paths.ROOT}/{CERTIFICATES[0 if is_ubuntu else 1]}"


def accepts(module: dict[str, Any]) -> bool:
    if module.get("signed_by") == "canonical":
        return True
    try:
        return module.get("signed_by") == "dkms" and (
            digest(certificate_of_dkms()) in read()["enrolled"]
        )
    except OSError:
        return False


def confirm_requests() -> None:
    """What a person at the console does at boot."""
    state = read()
    write({"enrolled": sorted({*state["enrolled"], *state["requested"]}), "requested": []})


def write_variable(is_on: bool) -> None:
    path = f"{paths.HW}/{VARIABLE}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(bytes([6, 0, 0, 0, int(is_on)]))
