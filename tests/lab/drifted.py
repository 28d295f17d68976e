"""What `fleet verify` tells of drift on lab hosts."""

import json
import subprocess

from tests.lab.fleet import BIN, ROOT, Fleet

DRIFT = {
    *("files", "inventory", "firewall rules", "drop-ins", "in force", "foreign processes"),
    *("strange units", "other servers", "other stores", "unlisted models"),
}


def verified(fleet: Fleet) -> list[dict[str, str]]:
    """Results of all that may drift."""
    described = str(fleet.inventory.with_suffix(".yml"))
    command = [str(BIN / "fleet"), "verify", described, "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    results = [one for host in json.loads(done.stdout)["hosts"] for one in host["results"]]
    assert "files" in {one["check"] for one in results}, done.stdout
    return [one for one in results if one["check"] in DRIFT]


def found(fleet: Fleet) -> dict[tuple[str, str], dict[str, str]]:
    """What is not well of it: subject and check to the result."""
    return {(one["subject"], one["check"]): one for one in verified(fleet) if one["status"] != "ok"}


def words(results: dict[tuple[str, str], dict[str, str]]) -> dict[tuple[str, str], str]:
    return {key: one["found"] for key, one in results.items()}
