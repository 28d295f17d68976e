"""What has to be on a machine before a part of the fleet runs there: packages, account, folders."""

from dataclasses import dataclass
from typing import NamedTuple

from ollama_fleet.packaging import install_packages
from ollama_fleet.questions import Answers
from ollama_fleet.services.packages import Needed, missing_question, read_missing
from ollama_fleet.services.service import Step
from ollama_fleet.templating import HostFile


class Folder(NamedTuple):
    """A folder on a machine; what is written into one with the set-group-ID bit is readable for its group,
    and for nobody else."""

    path: str
    mode: str
    group: str
    owner: str = "root"


@dataclass(frozen=True)
class Part:
    """The hop, a gateway, the metrics or a monitor. `name` begins its questions; `account` is the file for
    systemd-sysusers that makes `user`."""

    name: str
    user: str
    account: HostFile
    needed: Needed
    folders: tuple[Folder, ...]


@dataclass(frozen=True)
class Ready:
    """What was found: the packages that are missing, and whether account and folders are there."""

    packager: str
    missing: tuple[str, ...]
    has_account: bool
    has_folders: bool


def root_questions(name: str) -> dict[str, str]:
    """What to ask of a machine that nothing else of the deploy has asked."""
    return {f"{name}.user": "id -u", f"{name}.systemd": "[ -d /run/systemd/system ]"}


def problems(name: str, answers: Answers) -> list[str]:
    """Answers to `root_questions`, where they were asked: why nothing of the fleet can run there."""
    user, systemd = f"{name}.user", f"{name}.systemd"
    found = []
    if user in answers and answers[user].text.strip() != "0":
        found.append("not root on this machine; log in as root or set `ssh: {sudo: true}`")
    if systemd in answers and answers[systemd].code:
        found.append(f"systemd is not running; everything of the {name} is a systemd unit")
    return found


def questions(part: Part) -> dict[str, str]:
    """What to ask of a machine."""
    paths = " ".join(folder.path for folder in part.folders)
    wanted = "\n".join(
        f"{folder.owner} {folder.group} {folder.mode} {folder.path}" for folder in part.folders
    )
    return {
        f"{part.name}.packages": missing_question(part.needed),
        f"{part.name}.account": f"getent passwd {part.user} >/dev/null",
        f"{part.name}.folders": f"[ \"$(stat -c '%U %G %a %n' {paths} 2>/dev/null)\" = '{wanted}' ]",
    }


def read_ready(part: Part, answers: Answers) -> Ready:
    """Answers to `questions`."""
    packager, missing = read_missing(answers, f"{part.name}.packages")
    return Ready(
        packager,
        missing,
        has_account=answers[f"{part.name}.account"].code == 0,
        has_folders=answers[f"{part.name}.folders"].code == 0,
    )


def ready_steps(part: Part, found: Ready) -> list[Step]:
    """What makes a machine ready; empty when it is."""
    if not found.missing and found.has_account and found.has_folders:
        return []
    return [
        *install_packages(found.packager, found.missing),
        part.account,
        f"systemd-sysusers {part.account.path} || fail 'cannot make the user {part.user}'",
        *(
            f"install -d -m {folder.mode} -o {folder.owner} -g {folder.group} {folder.path} || "
            f"fail 'cannot make {folder.path}'"
            for folder in part.folders
        ),
    ]
