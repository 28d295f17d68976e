"""What `fleet bundle` says: before it fetches, and when it is done."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ollama_fleet.cli.ending import print_json

if TYPE_CHECKING:
    from ollama_fleet.bundle.fetch import Survey
    from ollama_fleet.bundle.item import Part
    from ollama_fleet.bundle.wanted import Failure, Scope


def size(count: int) -> str:
    """Bytes for people, as disks are sold: 5.2 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def announce(scope: "Scope", parts: "Sequence[Part]", found: "Survey", output: Path) -> None:
    """What the bundle is going to be, what is still to come, and what a person should know of it."""
    from ollama_fleet.bundle.wanted import unlocked
    from ollama_fleet.pgp import can_verify

    for part in parts:
        count = sum(item.size or 0 for item in part.files)
        print(f"{part.name:<60}  {len(part.files):>4} files  {size(count):>9}")
    print(f"{output}: {size(found.bytes)}, {size(found.wanted_bytes)} still to come")
    if names := unlocked(scope):
        print(f"not locked, taken as the tags are now (`fleet lock`): {', '.join(names)}")
    if not scope.distributions and any(
        plan.provision.driver.manage for plan in scope.plans.values()
    ):
        print("no driver and no container toolkit without --distribution")
    if not can_verify():
        print("gpgv is not installed here: that the indexes are signed is left to the hosts to see")


def report(
    scope: "Scope",
    parts: "Sequence[Part]",
    found: "Survey",
    failures: "Sequence[Failure]",
    output: Path,
    dry: bool,
    json: bool,
) -> None:
    """What was fetched, and what could not be had."""
    from ollama_fleet.bundle.wanted import unlocked

    lost = {failure.what for failure in failures}
    fetched = 0 if dry else sum(group[0].path not in lost for group in found.missing.values())
    if json:
        print_json(
            {
                "folder": str(output),
                "files": found.files,
                "bytes": found.bytes,
                "missing_bytes": found.wanted_bytes,
                "fetched": fetched,
                "parts": [part.name for part in parts],
                "unlocked": unlocked(scope),
                "failures": [vars(failure) for failure in failures],
            }
        )
        return
    for failure in failures:
        print(f"{failure.what}: {failure.why}", file=sys.stderr)
    if not dry:
        print(f"{fetched} files fetched, {len(failures)} things missing; see {output}/CHECKSUMS")
