"""`nvidia-smi mig`: its options, and creating and destroying instances one by one.

As the real one it stops at the first failure and leaves what it made until then.
"""

from __future__ import annotations

import os
from typing import Any

from .. import client
from . import exits, mig_lists
from .view import Gpu, Host

LISTS = {
    "-lgi": "-lgi", "--list-gpu-instances": "-lgi",
    "-lci": "-lci", "--list-compute-instances": "-lci",
    "-lgip": "-lgip", "--list-gpu-instance-profiles": "-lgip",
    "-lgipp": "-lgipp", "--list-gpu-instance-possible-placements": "-lgipp",
    "-lcip": "-lcip", "--list-compute-instance-profiles": "-lcip",
}  # fmt: skip
ACTIONS = {
    "-cgi": "-cgi", "--create-gpu-instance": "-cgi",
    "-cci": "-cci", "--create-compute-instance": "-cci",
    "-dgi": "-dgi", "--destroy-gpu-instance": "-dgi",
    "-dci": "-dci", "--destroy-compute-instance": "-dci",
}  # fmt: skip
VALUES = {
    "-i": "-i", "--id": "-i", "-gi": "-gi", "--gpu-instance-id": "-gi",
    "-ci": "-ci", "--compute-instance-id": "-ci",
}  # fmt: skip
DEFAULT_CI = ("-C", "--default-compute-instance")
WORKS_WITH_MIG_OFF = ("-lgip", "-lgipp")
Options = dict[str, str]


def show(host: Host, arguments: list[str]) -> int:
    options = _parse(arguments)
    gpus = host.select(options.get("-i"))
    capable = [gpu for gpu in gpus if gpu.found["mig"] and not gpu.lost]
    if not capable:
        raise exits.Exit(exits.NOT_FOUND, "No MIG-supported devices found.\n")
    verb = next((name for name in options if name in {*LISTS, *ACTIONS}), None)
    if verb is None:
        raise exits.invalid_option("mig")
    if verb not in WORKS_WITH_MIG_OFF and not any(gpu.in_mig for gpu in capable):
        raise exits.Exit(exits.OK, "No MIG-enabled devices found.\n")
    if os.geteuid() != 0 and verb not in WORKS_WITH_MIG_OFF:
        text = f"Failed to {_what(verb)}: Insufficient Permissions\n"
        raise exits.Exit(exits.NO_PERMISSION, text)
    if verb in LISTS:
        return mig_lists.show(verb, capable, options.get("-gi"))
    return _act(verb, [gpu for gpu in capable if gpu.in_mig], options)


def _what(verb: str) -> str:
    word = {"l": "display", "c": "create", "d": "destroy"}[verb[1]]
    return f"{word} {'GPU' if verb[2] == 'g' else 'compute'} instances"


def _parse(arguments: list[str]) -> Options:
    options: Options = {}
    rest = list(arguments)
    while rest:
        name, has_value, value = rest.pop(0).partition("=")
        if name in DEFAULT_CI:
            options["-C"] = ""
        elif name in LISTS:
            options[LISTS[name]] = ""
        elif name in VALUES or name in ("-cgi", "--create-gpu-instance"):
            if not has_value and not rest:
                raise exits.invalid_option(name)
            options[{**VALUES, **ACTIONS}[name]] = value if has_value else rest.pop(0)
        elif name in ACTIONS:
            takes = ACTIONS[name] == "-cci" and rest and not rest[0].startswith("-")
            options[ACTIONS[name]] = value if has_value else rest.pop(0) if takes else ""
        else:
            raise exits.invalid_option(name)
    return options


def _act(verb: str, gpus: list[Gpu], options: Options) -> int:
    if verb == "-cgi":
        for gpu in gpus:
            for profile in options["-cgi"].split(","):
                _create_gi(gpu, profile.strip(), with_ci="-C" in options)
        return exits.OK
    rows = [(gpu, gi) for gpu in gpus for gi in _chosen(gpu.gpu_instances, options.get("-gi"))]
    if verb == "-cci":
        for gpu, gi in rows:
            for wanted in options["-cci"].split(","):
                _create_ci(gpu, gi["id"], wanted.strip() or None)
    elif verb == "-dci":
        rows = [(gpu, gi) for gpu, gi in rows if _chosen(gi["compute"], options.get("-ci"))]
        for gpu, gi in rows:
            for ci in _chosen(gi["compute"], options.get("-ci")):
                _destroy_ci(gpu, gi["id"], ci["id"])
    else:
        for gpu, gi in rows:
            _destroy_gi(gpu, gi["id"])
    if not rows:
        kind = "compute" if verb == "-dci" else "GPU"
        raise exits.Exit(exits.NOT_FOUND, f"No {kind} instances found: Not Found\n")
    return exits.OK


def _chosen(instances: list[dict[str, Any]], wanted: str | None) -> list[dict[str, Any]]:
    names = None if wanted is None else [name.strip() for name in wanted.split(",")]
    return [each for each in instances if names is None or str(each["id"]) in names]


def _create_gi(gpu: Gpu, profile: str, with_ci: bool) -> None:
    answer = client.ask("mig-create-gi", gpu=gpu.uuid, profile=profile)
    place = f"on GPU {gpu.index:>2}"
    if "error" in answer:
        text = f"Unable to create a GPU instance {place} using profile {profile}"
        raise _failed(text, "-cgi", answer["error"])
    named = f"using profile MIG {answer['name']} (ID {answer['profile_id']:>2})"
    print(f"Successfully created GPU instance ID {answer['id']:>2} {place} {named}")
    if with_ci:
        _create_ci(gpu, answer["id"], None)


def _create_ci(gpu: Gpu, gi: int, wanted: str | None) -> None:
    answer = client.ask("mig-create-ci", gpu=gpu.uuid, gi=gi, profile=wanted)
    place = f"on GPU {gpu.index:>2} GPU instance ID {gi:>2}"
    if "error" in answer:
        profile = f" using profile {wanted}" if wanted else ""
        raise _failed(
            f"Unable to create a compute instance {place}{profile}", "-cci", answer["error"]
        )
    named = f"using profile MIG {answer['name']} (ID {answer['profile_id']:>2})"
    print(f"Successfully created compute instance ID {answer['id']:>2} {place} {named}")


def _destroy_gi(gpu: Gpu, gi: int) -> None:
    answer = client.ask("mig-destroy-gi", gpu=gpu.uuid, gi=gi)
    what = f"GPU instance ID {gi:>2} from GPU {gpu.index:>2}"
    if "error" in answer:
        raise _failed(f"Unable to destroy {what}", "-dgi", answer["error"])
    print(f"Successfully destroyed {what}")


def _destroy_ci(gpu: Gpu, gi: int, ci: int) -> None:
    answer = client.ask("mig-destroy-ci", gpu=gpu.uuid, gi=gi, ci=ci)
    what = f"compute instance ID {ci:>2} from GPU {gpu.index:>2} GPU instance ID {gi:>2}"
    if "error" in answer:
        raise _failed(f"Unable to destroy {what}", "-dci", answer["error"])
    print(f"Successfully destroyed {what}")


def _failed(text: str, verb: str, reason: str) -> exits.Exit:
    code = exits.code_of(reason)
    return exits.Exit(code, f"{text}: {reason}\nFailed to {_what(verb)}: {reason}\n")
