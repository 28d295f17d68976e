"""What a host says about its container runtimes and NVIDIA's toolkit: questions, and `ContainerState`.

Everything in one exec; nothing here starts a daemon that does not run.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ollama_fleet.containers import cdi, packages, probe, sources
from ollama_fleet.containers.containerd import parse_version
from ollama_fleet.hardware.found import HARDWARE_QUESTIONS, parse_loaded_driver, parse_pci
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answer, Answers, json_object

DAEMON_JSON = "/etc/docker/daemon.json"
CONTAINERD_CONFIG = "/etc/containerd/config.toml"
# Built-ins first: most hosts have no Docker, and systemctl is dear.
_HAS_DOCKER = "command -v dockerd >/dev/null"
DOCKER_RUNS = f"{_HAS_DOCKER} && systemctl is-active --quiet docker.service"
# The real path, mode and checksum of a file on three lines, then its text; exit 1: no such file.
_SHOW_FILE = """path=$(readlink -m "$file")
echo "$path"
[ -e "$path" ] || exit 1
stat -c %a "$path"
sha256sum <"$path" | cut -d' ' -f1
cat "$path"
"""
_QUESTIONS = {
    "os": "cat /etc/os-release",
    "machine": "uname -m",
    "pci": HARDWARE_QUESTIONS["pci"],
    "driver": HARDWARE_QUESTIONS["driver"],
    "containers.commands": """for name in dockerd containerd podman nvidia-ctk kubelet; do
    ! command -v "$name" >/dev/null || echo "$name"
done
[ ! -e /snap/bin/docker ] || echo docker-snap
for socket in /run/user/*/docker.sock; do [ ! -S "$socket" ] || echo docker-rootless; done
[ "$(getenforce 2>/dev/null)" != Enforcing ] || echo selinux
command -v nvidia-ctk >/dev/null && systemctl cat nvidia-cdi-refresh.service >/dev/null 2>&1 &&
    echo cdi-refresh
true""",
    "containers.versions": """for name in dockerd containerd podman; do
    ! command -v "$name" >/dev/null || echo "$name $("$name" --version 2>/dev/null | head -n 1)"
done""",
    "containers.packages": packages.QUESTION,
    "containers.own": packages.OWN_FILES_QUESTION,
    "containers.sources": sources.question((packages.APT_SOURCE, packages.RPM_SOURCE)),
    "containers.docker": f"{DOCKER_RUNS} && timeout 20 docker info --format '{{{{json .}}}}'",
    "containers.running": f"{DOCKER_RUNS} && timeout 20 docker ps --format '{{{{.Names}}}}'",
    "containers.dockerd": f"""{_HAS_DOCKER} || exit
pid=$(systemctl show -p MainPID --value docker.service)
[ "${{pid:-0}}" -gt 0 ] && tr '\\0' '\\n' <"/proc/$pid/cmdline\"""",
    "containers.daemon-json": f"""file={DAEMON_JSON}
pid=0
{_HAS_DOCKER} && pid=$(systemctl show -p MainPID --value docker.service)
if [ "${{pid:-0}}" -gt 0 ]; then
    named=$(tr '\\0' '\\n' <"/proc/$pid/cmdline" | sed -n 's/^--config-file=//p')
    file=${{named:-$file}}
fi
{_SHOW_FILE}""",
    "containers.config-toml": f"file={CONTAINERD_CONFIG}\n{_SHOW_FILE}",
    "containers.cdi": f"""sed -n 's/^{cdi.ENV_NAME}=/flags /p' {cdi.ENV_FILE} 2>/dev/null
for file in {cdi.SPEC} {cdi.REFRESHED_SPEC}; do [ ! -s $file ] || echo "spec $file"; done""",
    "containers.images": f"""{DOCKER_RUNS} && {probe.image_question("docker")} && echo docker
command -v podman >/dev/null && {probe.image_question("podman")} && echo podman
true""",
}


@dataclass(frozen=True)
class ConfigFile:
    """A runtime's configuration as found; `text` None: there is no such file."""

    path: str
    text: str | None = None
    mode: str = "644"
    sha256: str = ""


@dataclass(frozen=True)
class Docker:
    """A Docker engine; what only a running one can tell is empty or False for one that does not."""

    version: tuple[int, ...]
    running: bool
    arguments: tuple[str, ...] = ()
    runtimes: frozenset[str] = frozenset()
    reads_cdi: bool = False
    live_restore: bool = False
    containers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContainerState:
    """A host's container runtimes and its toolkit. `driver` is the version of the loaded one.

    `packages` are installed versions by name, `own` our files there with mode and checksum, `sources`
    files that name a repository of the toolkit and are not ours, with what is to be done with them.
    `daemon_json` may be there before any Docker is. `containerd` is None where it is Docker's own.
    """

    family: str | None
    arch: str
    gpus: int
    driver: str | None
    commands: frozenset[str]
    packages: Mapping[str, str]
    own: Mapping[str, tuple[str, str]]
    sources: Mapping[str, str]
    docker: Docker | None
    daemon_json: ConfigFile
    containerd: tuple[int, ...] | None
    containerd_config: ConfigFile
    podman: tuple[int, ...] | None
    cdi_flags: str | None
    cdi_specs: tuple[str, ...]
    images: frozenset[str]
    docker_candidate: str | None = None

    @property
    def has_runtime(self) -> bool:
        """Whether anything here runs containers that could be given a GPU."""
        return bool(self.docker or self.containerd is not None or self.podman)


def questions(plan: HostPlan) -> dict[str, str]:
    """What to ask a host; nothing where the toolkit is none of our business."""
    if plan.provision.toolkit.install is False:
        return {}
    asked = dict(_QUESTIONS)
    if plan.provision.container_runtime == "docker":
        asked["containers.candidate"] = packages.CANDIDATE_QUESTION
    return asked


def read_state(answers: Answers) -> ContainerState:
    """Answers to `questions`."""
    commands = frozenset(answers["containers.commands"].lines)
    versions = _versions(answers["containers.versions"].lines)
    # Docker brings a containerd of its own; with a kubelet beside it, containerd serves that, too.
    alone = "containerd" in commands and not (commands & {"dockerd"} and "kubelet" not in commands)
    cdi_lines = [line.split(maxsplit=1) for line in answers["containers.cdi"].lines]
    return ContainerState(
        family=packages.family(answers["os"].text),
        arch=answers["machine"].text.strip(),
        gpus=len(parse_pci(answers["pci"].text)),
        driver=parse_loaded_driver(answers["driver"].text),
        commands=commands,
        packages=_packages(answers["containers.packages"].lines),
        own=_own(answers["containers.own"].lines),
        sources=sources.read(answers["containers.sources"].lines),
        docker=_docker(answers, versions) if "dockerd" in commands else None,
        daemon_json=_file(answers["containers.daemon-json"], DAEMON_JSON),
        containerd=versions.get("containerd", ()) if alone else None,
        containerd_config=_file(answers["containers.config-toml"], CONTAINERD_CONFIG),
        podman=versions.get("podman", ()) if "podman" in commands else None,
        cdi_flags=next((row[1] for row in cdi_lines if row[0] == "flags" and row[1:]), None),
        cdi_specs=tuple(row[1] for row in cdi_lines if row[0] == "spec"),
        images=frozenset(answers["containers.images"].lines),
        docker_candidate=_candidate(answers),
    )


def _candidate(answers: Answers) -> str | None:
    """The package that a Docker engine would come from; it is asked for only where one is wanted."""
    asked = answers.get("containers.candidate")
    return asked.lines[0].strip() if asked and asked.lines else None


def _versions(lines: list[str]) -> dict[str, tuple[int, ...]]:
    """`name whatever it says of its version` lines."""
    rows = [line.split(maxsplit=1) for line in lines]
    return {row[0]: parse_version(row[1]) for row in rows if len(row) == 2}


def _packages(lines: list[str]) -> dict[str, str]:
    """`installed <name> <version>` lines; others are of removed packages."""
    rows = [line.split() for line in lines]
    return {row[1]: row[2] for row in rows if len(row) == 3 and row[0] == "installed"}


def _own(lines: list[str]) -> dict[str, tuple[str, str]]:
    """`<mode> <sha256> <path>` lines."""
    rows = [line.split(maxsplit=2) for line in lines]
    return {row[2]: (row[0], row[1]) for row in rows if len(row) == 3}


def _docker(answers: Answers, versions: Mapping[str, tuple[int, ...]]) -> Docker:
    info = _json(answers["containers.docker"])
    return Docker(
        version=versions.get("dockerd", ()),
        running=bool(info),
        arguments=tuple(answers["containers.dockerd"].lines),
        runtimes=frozenset(info.get("Runtimes") or ()),
        reads_cdi=bool(info.get("CDISpecDirs")),
        live_restore=info.get("LiveRestoreEnabled") is True,
        containers=tuple(answers["containers.running"].lines) if info else (),
    )


def _json(answer: Answer) -> dict[str, Any]:
    """The object in an answer; warnings may stand before it."""
    found = re.search(r"^\{.*\}$", answer.text, re.M) if answer.code == 0 else None
    return json_object(found.group()) if found else {}


def _file(answer: Answer, path: str) -> ConfigFile:
    head = answer.text.split("\n", 3)
    real = head[0].strip() or path
    if answer.code != 0 or len(head) < 3:
        return ConfigFile(real)
    return ConfigFile(real, head[3] if len(head) > 3 else "", head[1].strip(), head[2].strip())
