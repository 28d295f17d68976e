"""mokutil of a lab host with UEFI: the state of Secure Boot, and requests to enrol a key."""

from __future__ import annotations

import getpass
import os
import sys

from . import machine, paths, secure_boot

NOT_EFI = "EFI variables are not supported on this system"


def main(arguments: list[str]) -> int:
    state = machine.read().hardware.get("secure_boot")
    if state is None:
        return _fail(NOT_EFI)
    verb, *rest = arguments or ["--help"]
    if verb == "--sb-state":
        print(f"SecureBoot {'enabled' if state else 'disabled'}")
        return 0
    if verb in ("--list-enrolled", "-l", "--list-new", "-N"):
        return _list("enrolled" if verb in ("--list-enrolled", "-l") else "requested")
    if verb in ("--test-key", "-t") and rest:
        return _test(rest[0])
    if verb in ("--import", "-i") and rest:
        return _import(rest)
    if verb == "--revoke-import":
        secure_boot.write({**secure_boot.read(), "requested": []})
        return 0
    return _fail("Usage: mokutil --sb-state | --list-enrolled | --list-new | --test-key FILE | "
                 "--import FILE [--hash-file FILE | --root-pw]")  # fmt: skip


def _list(which: str) -> int:
    keys = secure_boot.read()[which]
    if not keys:
        print("MokListRT is empty" if which == "enrolled" else "MokNew is empty")
    for number, key in enumerate(keys, 1):
        pairs = ":".join(key[n : n + 2] for n in range(0, len(key), 2))
        print(
            f"[key {number}]\nSHA1 Fingerprint: {pairs}\n        Subject: CN=DKMS module signing key\n"
        )
    return 0


def _test(file: str) -> int:
    """The real exit statuses: 0 where the key is not there, 1 where it is."""
    try:
        key = secure_boot.digest(f"{paths.ROOT}{file}" if file.startswith("/") else file)
    except OSError:
        return _fail(f"Failed to get file status, {file}")
    state = secure_boot.read()
    if key in state["enrolled"]:
        print(f"{file} is already enrolled")
        return 1
    if key in state["requested"]:
        print(f"{file} is already in the enrollment request")
        return 1
    print(f"{file} is not enrolled")
    return 0


def _import(arguments: list[str]) -> int:
    files = [word for word in _without_values(arguments) if not word.startswith("-")]
    if os.geteuid() != 0:
        return _fail("This function requires root privilege")
    if not {"--hash-file", "-f", "--root-pw", "-P"} & set(arguments) and not _password():
        return _fail("Failed to enroll new keys")
    state = secure_boot.read()
    for file in files:
        if _test_quietly(file, state):
            print(f"SKIP: {file} is already enrolled")
            continue
        state["requested"].append(secure_boot.digest(f"{paths.ROOT}{file}"))
    secure_boot.write(state)
    return 0


def _without_values(arguments: list[str]) -> list[str]:
    follows = zip(["", *arguments], arguments, strict=False)
    return [word for before, word in follows if before not in ("--hash-file", "-f")]


def _test_quietly(file: str, state: dict[str, list[str]]) -> bool:
    key = secure_boot.digest(f"{paths.ROOT}{file}")
    return key in state["enrolled"] or key in state["requested"]


def _password() -> bool:
    """Asked twice; from standard input where there is no terminal."""
    if sys.stdin.isatty():
        first, second = getpass.getpass("input password: "), getpass.getpass("again: ")
    else:
        print("input password: \ninput password again: ")
        first, second = (sys.stdin.readline().rstrip("\n") for _ in range(2))
    if first != second or not first:
        print("Password doesn't match" if first != second else "Abort")
        return False
    return True


def _fail(text: str) -> int:
    print(text, file=sys.stderr)
    return 1
