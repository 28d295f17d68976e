"""The faults that a lab host can have: the table (faults.yml) and those that need hands.

A simulated fault is only a file in hw/faults/; the others are carried out here, from outside.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from lab import machine, network
from lab.errors import UsageError, unknown
from lab.state import MIRROR, PACKAGE, LabPaths, read_json, write_json, write_text

TABLE = PACKAGE / "faults.yml"
Value = bool | int | float | str
Parameters = dict[str, Value]
Switch = Callable[[LabPaths, str, Parameters], None]

# What the mirror may cut short: that which is checked by digest. (apt would just say so.)
TRUNCATED = ("ollama/ollama/releases/download/**/*.t*", "v2/**/blobs/*")
FILL = """
set -eu
fallocate --length $(( $(stat --file-system --format='%a * %S' "$1") )) "$1/.lab-disk-full" || true
test "$(stat --file-system --format=%a "$1")" -lt 1024
"""
# A reload returns before the old workers have stopped accepting connections.
RELOAD = """
workers() { pgrep --exact --full 'nginx: worker process' || true; }
before=$(workers)
systemctl try-reload-or-restart nginx
for _ in $(seq 100); do
  busy=$(workers | grep --count --word-regexp --fixed-strings "${before:-none}" || true)
  test "$busy" = 0 && exit 0
  sleep 0.02
done
"""


class Fault(BaseModel):
    """A row of faults.yml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: str
    where: Literal["simulation", "host", "mirror"]
    parameters: Parameters = {}


def load_faults() -> dict[str, Fault]:
    return {name: Fault(**row) for name, row in yaml.safe_load(TABLE.read_text()).items()}


def find(name: str) -> Fault:
    table = load_faults()
    if name not in table:
        raise unknown("fault", name, table)
    return table[name]


def switch_on(paths: LabPaths, host: str, name: str, given: dict[str, Any]) -> Parameters:
    """Returns the parameters that are in force. Switching on again takes over new parameters."""
    fault = find(name)
    parameters = check(paths, host, name, given)
    if fault.where != "simulation":
        if name in active(paths, host):
            switch_off(paths, host, name)
        ON[name](paths, host, parameters)
    write_json(paths.host(host).faults / f"{name}.json", parameters)
    return parameters


def switch_off(paths: LabPaths, host: str, name: str) -> None:
    """Nothing happens where the fault is not on."""
    fault, parameters = find(name), active(paths, host).get(name)
    paths.existing(host)
    if parameters is None:
        return
    if fault.where != "simulation":
        OFF[name](paths, host, parameters)
    (paths.host(host).faults / f"{name}.json").unlink(missing_ok=True)


def active(paths: LabPaths, host: str) -> dict[str, Parameters]:
    """The faults that are on, with their parameters."""
    files = sorted(paths.host(host).faults.glob("[!.]*.json"))
    return {path.stem: read_json(path) for path in files}


def check(paths: LabPaths, host: str, name: str, given: dict[str, Any]) -> Parameters:
    """The fault's parameters, completed and of the right type; says so where they can't be."""
    fault = find(name)
    if (host == MIRROR) != (fault.where == "mirror") and fault.where != "host":
        place = f"the host `{MIRROR}`" if fault.where == "mirror" else "hosts, not on the mirror"
        raise UsageError(f"{name} acts on {place}")
    for key in given:
        if key not in fault.parameters:
            raise unknown(f"parameter of {name}", key, fault.parameters)
    typed = {key: _typed(name, key, value, fault) for key, value in given.items()}
    _check_gpu(paths, host, name, {**fault.parameters, **typed})
    return {**fault.parameters, **typed}


TRUTH = {"true": True, "false": False}


def _typed(name: str, key: str, value: Any, fault: Fault) -> Value:
    kind = type(fault.parameters[key])
    try:
        return TRUTH[str(value).lower()] if kind is bool else kind(value)
    except (ValueError, KeyError):
        raise UsageError(f"{name}: {key} must be {_kind(kind)}, not '{value}'") from None


def _kind(kind: type) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")


def _check_gpu(paths: LabPaths, host: str, name: str, parameters: Parameters) -> None:
    if "gpu" not in parameters:
        return
    found = read_json(paths.existing(host).hardware / "hardware.json")
    count = len(found.get("gpus", []))
    if not 0 <= int(parameters["gpu"]) < count:
        has = f"GPUs 0 to {count - 1}" if count else "no GPU"
        raise UsageError(f"{name}: there is no GPU {parameters['gpu']}, {host} has {has}")


def _fill_disk(paths: LabPaths, host: str, parameters: Parameters) -> None:
    machine.run_inside(host, "sh", "-c", FILL, "sh", str(parameters["path"]))


def _empty_disk(paths: LabPaths, host: str, parameters: Parameters) -> None:
    machine.run_inside(host, "rm", "--force", f"{parameters['path']}/.lab-disk-full")


def _cut_network(paths: LabPaths, host: str, parameters: Parameters) -> None:
    paths.host(host).network_cut.touch()
    network.unplug(host)


def _join_network(paths: LabPaths, host: str, parameters: Parameters) -> None:
    paths.host(host).network_cut.unlink(missing_ok=True)
    network.plug(host)


def _stop_mirror(paths: LabPaths, host: str, parameters: Parameters) -> None:
    (paths.host(host).nginx / "down").touch()
    machine.run_inside(host, "systemctl", "stop", "nginx")


def _start_mirror(paths: LabPaths, host: str, parameters: Parameters) -> None:
    (paths.host(host).nginx / "down").unlink(missing_ok=True)
    machine.run_inside(host, "systemctl", "start", "nginx")


def _slow_mirror(paths: LabPaths, host: str, parameters: Parameters) -> None:
    rate = str(parameters["rate"])
    if not re.fullmatch(r"[1-9]\d*[kKmM]?", rate):
        raise UsageError(f"mirror-slow: rate must be bytes per second such as 200k, not '{rate}'")
    write_text(paths.host(host).nginx / "slow.conf", f"limit_rate {rate};\n")
    _reload_mirror(host)


def _unslow_mirror(paths: LabPaths, host: str, parameters: Parameters) -> None:
    (paths.host(host).nginx / "slow.conf").unlink(missing_ok=True)
    _reload_mirror(host)


def _reload_mirror(host: str) -> None:
    machine.run_inside(host, "sh", "-c", RELOAD)


def _truncate_mirror(paths: LabPaths, host: str, parameters: Parameters) -> None:
    keep_percent, target = int(parameters["keep_percent"]), paths.host(host).truncated
    for source in (path for pattern in TRUNCATED for path in paths.mirror.glob(pattern)):
        if source.is_file() and not source.name.endswith(".txt"):
            copy = target / source.relative_to(paths.mirror)
            copy.parent.mkdir(parents=True, exist_ok=True)
            _copy_start(source, copy, source.stat().st_size * keep_percent // 100)


def _copy_start(source: Path, target: Path, size_bytes: int) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        while size_bytes > 0 and (chunk := reader.read(min(size_bytes, 1 << 20))):
            size_bytes -= writer.write(chunk)
    target.chmod(0o644)


def _untruncate_mirror(paths: LabPaths, host: str, parameters: Parameters) -> None:
    """The directory itself stays: it is mounted into the mirror."""
    for path in paths.host(host).truncated.iterdir():
        shutil.rmtree(path)


ON: dict[str, Switch] = {
    "disk-full": _fill_disk,
    "network-cut": _cut_network,
    "mirror-down": _stop_mirror,
    "mirror-truncating": _truncate_mirror,
    "mirror-slow": _slow_mirror,
}
OFF: dict[str, Switch] = {
    "disk-full": _empty_disk,
    "network-cut": _join_network,
    "mirror-down": _start_mirror,
    "mirror-truncating": _untruncate_mirror,
    "mirror-slow": _unslow_mirror,
}
