"""Answers of a host on which everything is as planned, for pyinfra's @fake connector.

The connector gives the first answer whose key occurs in the command. An unchanged run asks twice: all
that the steps want to know, and the proof at the end.
"""

from collections.abc import Mapping
from typing import Any

from ollama_fleet.convergence import digest, manifest_of
from ollama_fleet.hardware.found import read_hardware
from ollama_fleet.host import models, warm
from ollama_fleet.host.ahead import ahead
from ollama_fleet.host.requirements import asked
from ollama_fleet.mirrors.nginx import Machine, configuration_digest, mirror_file
from ollama_fleet.mirrors.state import CA_BUNDLES
from ollama_fleet.planner.bind import bind
from ollama_fleet.planner.mirror import MirrorPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.preflight import QUESTIONS
from ollama_fleet.questions import END, MARK, Answer
from ollama_fleet.render import render_host
from tests.unit.examples import watch_answers
from tests.unit.test_checks import PLAN, assembled, healthy, ps
from tests.unit.test_mirrors import GOOD_NGINX

HARDWARE = {name: text for name, text in healthy().items() if name in QUESTIONS}


def transcript(answers: Mapping[str, str], codes: Mapping[str, int] | None = None) -> list[str]:
    """What a host prints when it is asked these questions."""
    lines = []
    for name, text in answers.items():
        lines += [f"{MARK}{name}", *text.splitlines(), f"{MARK}{(codes or {}).get(name, 0)}"]
    return [*lines, f"{MARK}{END}"]


def preflight_answers(**changes: str) -> dict[str, str]:
    """A Debian host with all commands and the GPUs of the example."""
    system = {
        "user": "0",
        "machine": "x86_64",
        "os": "ID=debian\nVERSION_ID=12",
        "systemd": "systemd 252 (252.39-1)",
        "commands": "",
    }
    disk = "/dev/sda1 9 9 999999999999 1% /"
    space = {"disk": disk, "memory": "MemTotal: 99999999 kB", "stored": ""}
    return {**system, **HARDWARE, **space, **changes}


def release_answers() -> dict[str, str]:
    """The planned release, installed and current."""
    wanted = PLAN.ollama
    return {
        "machine": "x86_64",
        "installed": f"{wanted.prefix} {wanted.sha256['amd64']}",
        "current": wanted.prefix,
    }


def unit_answers(plan: HostPlan = PLAN) -> dict[str, str]:
    """Every file and unit of a plan, as a deploy leaves them."""
    hardware = read_hardware({name: Answer(text) for name, text in HARDWARE.items()})
    wanted = render_host(plan, bind(plan, hardware))
    modes = [f"{file.mode.lstrip('0')} {file.path}" for file in wanted.files]
    sums = [f"{digest(file)}  {file.path}" for file in wanted.files]
    units = [
        f"Id={unit}\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled"
        for unit in wanted.units
    ]
    # They have loaded what they are for, and ended.
    units += [
        f"Id={item.warm_unit}\nLoadState=loaded\nActiveState=inactive\nExecMainStatus=0"
        for item in plan.slices
    ]
    return {
        **HARDWARE,
        "files": "\n".join([*modes, *sums]),
        "units": "\n\n".join(units),
        "pending": "",
        "account": "ollama:x:997",
        "manifest": manifest_of(wanted),
        "command": "other",
        warm.LOADED: ps(0) + ps(1),
    }


def model_answers() -> dict[str, str]:
    """Both models, whole."""
    manifest = '{"config": {"digest": "sha256:aa", "size": 3}, "layers": []}'
    blobs = "sha256-aa 3 1732786.5"
    return {models.BLOBS: blobs, models.SOUND: blobs, **dict.fromkeys(PLAN.models, manifest)}


def asked_answers(**changes: str) -> dict[str, str]:
    """Everything that the steps want to know, which is asked at once."""
    driver = {name: text for name, text in healthy().items() if name.startswith("driver.")}
    steps = (
        *(preflight_answers(), driver, release_answers(), unit_answers()),
        *(watch_answers(PLAN, HARDWARE), model_answers()),
    )
    silent = {name: "" for step in (asked(PLAN), *ahead(PLAN)) for name in step}
    return silent | {name: text for step in steps for name, text in step.items()} | changes


def host_data(**changes: list[str]) -> dict[str, Any]:
    """Host data of a converged @fake host; `changes` replaces whole transcripts.

    It answers twice and nothing else, so a run that asked more often would fail.
    """
    facts = {
        "asked": ("id -u", transcript(asked_answers())),
        "verify": ("/api/generate", transcript(assembled(healthy()))),
    }
    answers = {key: changes.get(name, text) for name, (key, text) in facts.items()}
    wanted = PLAN.ollama
    return {
        "plan": PLAN,
        "ollama_version": wanted.version,
        "ollama_sha256": wanted.sha256,
        "ollama_release_url": wanted.release_url,
        "fake_responses": answers,
        "fake_delay": 0.0,
        "fake_delay_jitter": 0.0,
    }


# What a machine without slices says of itself: much room, a clock that its outer machine sets.
OWN = {
    "clock": "1764345600\n1764345600\ncontainer",
    "file systems": "ab 4096 262144000 131072000 0 0 /",
    "programs": "",
    "clock end": "1764345600",
}
MIRROR = MirrorPlan(name="depot", host="depot", url="http://10.0.0.5:8480")


def mirror_answers(nginx: str = GOOD_NGINX) -> dict[str, str]:
    """A machine on which that mirror is in force."""
    machine = Machine(("9.9.9.9",), CA_BUNDLES["apt"], has_ipv6=True)
    return {
        "mirror.user": "0",
        "mirror.systemd": "",
        "mirror.os": "ID=debian\nVERSION_ID=12",
        "mirror.commands": "",
        "mirror.bundles": CA_BUNDLES["apt"],
        "mirror.nginx": nginx,
        "mirror.file": f"644\n{digest(mirror_file(MIRROR, machine))}  -",
        "mirror.unit": "active\nenabled",
        "mirror.resolvers": "nameserver 9.9.9.9",
        "mirror.ipv6": "",
        "mirror.in-force": configuration_digest(MIRROR, machine),
        "mirror.registry": "200",
        "mirror.cache": "1",
        "mirror.free": "999999",
        "mirror.folder": "",
        "mirror.selinux": "",
        **OWN,
    }
