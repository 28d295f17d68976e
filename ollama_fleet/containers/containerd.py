"""The NVIDIA runtime in containerd's config.toml: pure text to text.

Appended to the file itself, not put into a drop-in: containerd before 2.0 replaces the whole table
of runtimes by that of an imported file, and runc would be gone (containerd issues 5837, 7982). For the
same reason a file that names no runtime gets its default one, runc, by name.
"""

import re
import tomllib
from typing import Any

from ollama_fleet.templating import MARKER

# The plugin that holds the runtimes, by version of the configuration.
PLUGINS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
BINARY = "/usr/bin/nvidia-container-runtime"


class BadContainerdConfigError(Exception):
    """A config.toml that we cannot add to; the text says why."""


def merge(text: str | None, version: tuple[int, ...]) -> str | None:
    """`text` (None: no such file) of a containerd `version` with the nvidia runtime; None when it has
    one already. Raises BadContainerdConfigError."""
    if text is None or not text.strip():
        text = f"version = {3 if version >= (2,) else 2}\n"
    found = _parse(text)
    kind = found.get("version", 1)
    if kind not in PLUGINS:
        raise BadContainerdConfigError(
            f"it is of version {kind}; write it anew as version 2 with `containerd config migrate`"
        )
    plugin = PLUGINS[kind]
    runtimes = _table(found, "plugins", plugin, "containerd", "runtimes")
    if "nvidia" in runtimes:
        return None
    added = ("nvidia",) if runtimes else ("runc", "nvidia")
    merged = text.rstrip("\n") + "\n\n" + _block(plugin, added, _systemd_cgroup(runtimes))
    if _without(added, _parse(merged), plugin) != _without(added, found, plugin):
        raise BadContainerdConfigError("the runtime cannot be added without changing the rest")
    return merged


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadContainerdConfigError(str(error)) from None


def _table(found: Any, *path: str) -> dict[str, Any]:
    for key in path:
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def _systemd_cgroup(runtimes: dict[str, Any]) -> bool:
    """As runc has it: kubelet and every runtime have to agree on who owns the control groups."""
    return bool(_table(runtimes, "runc", "options").get("SystemdCgroup", False))


def _block(plugin: str, names: tuple[str, ...], systemd_cgroup: bool) -> str:
    lines = [f"# {MARKER}: the NVIDIA runtime"]
    for name in names:
        table = f'plugins."{plugin}".containerd.runtimes.{name}'
        lines += [f"[{table}]", '  runtime_type = "io.containerd.runc.v2"']
        if name == "nvidia":
            lines += [f"[{table}.options]", f'  BinaryName = "{BINARY}"']
            lines += ["  SystemdCgroup = true"] if systemd_cgroup else []
    return "\n".join(lines) + "\n"


def _without(names: tuple[str, ...], found: dict[str, Any], plugin: str) -> dict[str, Any]:
    """All but these runtimes, with the empty tables that only led to them left out."""
    runtimes = _table(found, "plugins", plugin, "containerd", "runtimes")
    for name in names:
        runtimes.pop(name, None)
    return _pruned(found)


def _pruned(found: dict[str, Any]) -> dict[str, Any]:
    inner = {k: _pruned(v) if isinstance(v, dict) else v for k, v in found.items()}
    return {key: value for key, value in inner.items() if value != {}}


def parse_version(text: str) -> tuple[int, ...]:
    """Out of `containerd github.com/containerd/containerd 1.6.20~ds1 …`; empty when there is none."""
    found = re.search(r"\bv?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in found.groups() if part) if found else ()
