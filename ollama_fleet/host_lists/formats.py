"""The lists of machines that can be read, one function each: parsed JSON to `Listed`.

Each takes what the tool's own command prints (`COMMANDS`). A machine is meant for the fleet when it says
its kind: by a tag, label or key `fleet-kind` (MAAS, whose tags have no values: a tag `fleet-kind-NAME`), or
by a type of machine to which the base file gives a kind.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

KIND = "fleet-kind"
OUTPUT = "fleet_hosts"

# What prints each list; for help and docs.
COMMANDS = {
    "terraform": "terraform output -json",
    "maas": "maas PROFILE machines read",
    "aws": "aws ec2 describe-instances --output json",
    "gcloud": "gcloud compute instances list --format json",
    "azure": "az vm list --show-details --output json",
    "json": '[{"name": …, "address": …, "kind": …}, …]',
}


@dataclass(frozen=True)
class Listed:
    """A machine of a list. `kind` and `type` may be empty; `state` says why it is not ready, else empty."""

    name: str
    address: str
    kind: str = ""
    type: str = ""
    state: str = ""


class NotThatListError(ValueError):
    """The JSON is something else; says what was looked for."""


def read_list(form: str, document: Any) -> list[Listed]:
    """Machines of a parsed list. Raises NotThatListError."""
    try:
        return list(READERS[form](document))
    except (KeyError, IndexError, TypeError, AttributeError, StopIteration):
        what = f"is not what `{COMMANDS[form]}` prints"
        raise NotThatListError(what) from None


def _terraform(document: Any) -> Iterator[Listed]:
    """An output `fleet_hosts`: a map of names, or a list, of objects with address and kind."""
    if OUTPUT not in document:
        has = ", ".join(sorted(document)) or "none"
        raise NotThatListError(f"has no output `{OUTPUT}`; its outputs: {has}")
    value = document[OUTPUT]["value"]
    rows = (
        [{"name": name, **row} for name, row in value.items()] if isinstance(value, dict) else value
    )
    yield from _plain(rows)


def _plain(rows: Any) -> Iterator[Listed]:
    if not isinstance(rows, list):
        raise TypeError
    for row in rows:
        yield Listed(str(row["name"]), str(row["address"]), str(row.get("kind") or ""))


def _maas(document: Any) -> Iterator[Listed]:
    for row in document:
        tags = [
            tag.removeprefix(f"{KIND}-") for tag in row["tag_names"] if tag.startswith(f"{KIND}-")
        ]
        state = "" if row["status_name"] == "Deployed" else row["status_name"]
        addresses = row["ip_addresses"]
        yield Listed(
            row["hostname"],
            _first(addresses),
            _first(tags),
            row.get("pool", {}).get("name", ""),
            state,
        )


def _aws(document: Any) -> Iterator[Listed]:
    for row in (item for group in document["Reservations"] for item in group["Instances"]):
        tags = {tag["Key"]: tag["Value"] for tag in row.get("Tags", [])}
        state = row["State"]["Name"]
        yield Listed(
            tags.get("Name") or row["InstanceId"],
            row.get("PrivateIpAddress", ""),
            tags.get(KIND, ""),
            row["InstanceType"],
            "" if state == "running" else state,
        )


def _gcloud(document: Any) -> Iterator[Listed]:
    for row in document:
        state = row["status"]
        yield Listed(
            row["name"],
            row["networkInterfaces"][0].get("networkIP", ""),
            row.get("labels", {}).get(KIND, ""),
            row["machineType"].rpartition("/")[2],
            "" if state == "RUNNING" else state.lower(),
        )


def _azure(document: Any) -> Iterator[Listed]:
    for row in document:
        state = row["powerState"]
        yield Listed(
            row["name"],
            row["privateIps"].partition(",")[0],
            (row.get("tags") or {}).get(KIND, ""),
            row["hardwareProfile"]["vmSize"],
            "" if state == "VM running" else state,
        )


def _first(values: list[str]) -> str:
    return values[0] if values else ""


READERS: Mapping[str, Callable[[Any], Iterator[Listed]]] = {
    "terraform": _terraform,
    "maas": _maas,
    "aws": _aws,
    "gcloud": _gcloud,
    "azure": _azure,
    "json": _plain,
}
