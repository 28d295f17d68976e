"""nvidia-ctk of a lab host: `--version`, `cdi generate`, `cdi list`, `config`.

Specifications are JSON, which is YAML. `runtime configure` is not there: whoever needs it has not read
what the real one does to daemon.json.
"""

from __future__ import annotations

import glob
import json
import os
import sys
from typing import Any

from . import containers

KIND = "nvidia.com/gpu"
FOLDERS = ("/etc/cdi", "/var/run/cdi")
OUTPUT_SETTING = "NVIDIA_CTK_CDI_OUTPUT_FILE_PATH"
FLAGS_SETTING = "NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS"
NO_GIDS = "no-additional-gids-for-device-nodes"
CONFIG = 'disable-require = false\n\n[nvidia-container-runtime]\nmode = "auto"\n'


def main(arguments: list[str]) -> int:
    words = [word for word in arguments if not word.startswith("-")]
    given = [word.lstrip("-").partition("=") for word in arguments if word.startswith("-")]
    options = {name: value for name, _, value in given}
    if "version" in options or words[:1] == ["version"]:
        print(f"NVIDIA Container Toolkit CLI version {containers.toolkit_version()}")
        return 0
    if words[:2] == ["cdi", "generate"]:
        return _generate(options)
    if words[:2] == ["cdi", "list"]:
        return _list()
    if words[:1] == ["config"]:
        return _config(options)
    print(f"nvidia-ctk of the lab does not know: {' '.join(arguments)}", file=sys.stderr)
    return 1


def _generate(options: dict[str, str]) -> int:
    target = options.get("output") or os.environ.get(OUTPUT_SETTING)
    flags = f"{options.get('feature-flag', '')},{os.environ.get(FLAGS_SETTING, '')}".split(",")
    try:
        text = json.dumps(specification(NO_GIDS in flags), indent=2) + "\n"
    except containers.NoDriverError:
        print('level=error msg="failed to initialize NVML: Driver Not Loaded"', file=sys.stderr)
        return 1
    if not target:
        print(text, end="")
        return 0
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(f"{target}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{target}.new", target)
    print(f'level=info msg="Generated CDI spec with version {_version(text)}"', file=sys.stderr)
    return 0


def specification(for_old_runtimes: bool) -> dict[str, Any]:
    """0.7.0 from 1.19.1 on, for the group ids of nodes; without those, what older runtimes read."""
    new = tuple(map(int, containers.toolkit_version().split("."))) >= (1, 19, 1)
    common = [node for node in containers.CONTROL_NODES if os.path.exists(f"/dev/{node}")]
    return {
        "cdiVersion": "0.7.0" if new and not for_old_runtimes else "0.5.0",
        "kind": KIND,
        "devices": [
            {
                "name": name,
                "containerEdits": {"deviceNodes": [{"path": f"/dev/{n}"} for n in nodes]},
            }
            for name, nodes in containers.devices().items()
        ],
        "containerEdits": {
            "deviceNodes": [{"path": f"/dev/{node}"} for node in common],
            "mounts": [
                {"hostPath": source, "containerPath": place, "options": ["nosuid", "nodev", "bind"]}
                for place, source in containers.mounts().items()
            ],
        },
    }


def _version(text: str) -> str:
    return str(json.loads(text)["cdiVersion"])


def _list() -> int:
    names = {}
    for folder in FOLDERS:
        for path in sorted(glob.glob(f"{folder}/*.yaml") + glob.glob(f"{folder}/*.json")):
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
            names.update({f"{found['kind']}={device['name']}": path for device in found["devices"]})
    print(f'level=info msg="Found {len(names)} CDI devices"', file=sys.stderr)
    for name in sorted(names):
        print(name)
    return 0


def _config(options: dict[str, str]) -> int:
    path = options.get("config-file") or "/etc/nvidia-container-runtime/config.toml"
    if "in-place" in options:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIG)
    else:
        print(CONFIG, end="")
    return 0
