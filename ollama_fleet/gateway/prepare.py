"""What has to be on a machine before anything of the gateway runs: packages, account, folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ollama_fleet.gateway import packages, places
from ollama_fleet.gateway.hop import sysusers_file
from ollama_fleet.gateway.service import Step
from ollama_fleet.packaging import install_packages
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.questions import Answers

ROOT_QUESTIONS = {"gateway.user": "id -u", "gateway.systemd": "[ -d /run/systemd/system ]"}


@dataclass(frozen=True)
class Part:
    """The hop or the gateway: the programs that it needs, and its folders as (path, mode)."""

    name: str
    needed: Mapping[str, Mapping[str, str]]
    folders: tuple[tuple[str, str], ...]


# What is written into a folder with the set-group-ID bit is readable for the service, and for it alone.
HOP = Part("hop", packages.HOP, ((places.HOP_DIR, "755"), (places.HOP_TLS, "2750")))
GATEWAY = Part(
    "gateway", packages.GATEWAY, ((places.GATEWAY_DIR, "2750"), (places.GATEWAY_TLS, "2750"))
)


def gateway_part(plan: GatewayPlan) -> Part:
    """The gateway with what its plan needs beside the rest."""
    if plan.virtual_address is None:
        return GATEWAY
    return replace(GATEWAY, needed={**packages.GATEWAY, **packages.ADDRESS})


@dataclass(frozen=True)
class Prepared:
    """What was found: the packages that are missing, and whether account and folders are there."""

    packager: str
    missing: tuple[str, ...]
    has_account: bool
    has_folders: bool


def questions(part: Part) -> dict[str, str]:
    """What to ask of a machine."""
    paths = " ".join(path for path, _ in part.folders)
    wanted = "\n".join(f"root {places.USER} {mode} {path}" for path, mode in part.folders)
    return {
        f"{part.name}.packages": packages.missing_question(part.needed),
        f"{part.name}.account": f"getent passwd {places.USER} >/dev/null",
        f"{part.name}.folders": f"[ \"$(stat -c '%U %G %a %n' {paths} 2>/dev/null)\" = '{wanted}' ]",
    }


def read_prepared(part: Part, answers: Answers) -> Prepared:
    """Answers to `questions`."""
    packager, missing = packages.read_missing(answers, f"{part.name}.packages")
    return Prepared(
        packager,
        missing,
        answers[f"{part.name}.account"].code == 0,
        answers[f"{part.name}.folders"].code == 0,
    )


def problems(answers: Answers) -> list[str]:
    """Answers to ROOT_QUESTIONS, where they were asked: why the machine can be no gateway."""
    found = []
    if "gateway.user" in answers and answers["gateway.user"].text.strip() != "0":
        found.append("not root on this machine; log in as root or set `ssh: {sudo: true}`")
    if "gateway.systemd" in answers and answers["gateway.systemd"].code:
        found.append("systemd is not running; the gateway's parts are systemd units")
    return found


def prepare_steps(part: Part, found: Prepared) -> list[Step]:
    """What makes a machine ready; empty when it is."""
    if not found.missing and found.has_account and found.has_folders:
        return []
    return [
        *install_packages(found.packager, found.missing),
        sysusers_file(),
        f"systemd-sysusers {places.SYSUSERS} || fail 'cannot make the user {places.USER}'",
        *_folders(part.folders),
    ]


def _folders(folders: Sequence[tuple[str, str]]) -> list[str]:
    return [
        f"install -d -m {mode} -o root -g {places.USER} {path} || fail 'cannot make {path}'"
        for path, mode in folders
    ]
