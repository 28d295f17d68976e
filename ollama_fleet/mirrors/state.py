"""What is asked of a mirror's machine, and the answers as one value."""

import re
import shlex
from dataclasses import dataclass

from ollama_fleet.catalogue.distribution import packager_of
from ollama_fleet.mirrors.nginx import CONFIGURATION, STATUS_PATH, Machine
from ollama_fleet.planner.mirror import MirrorPlan
from ollama_fleet.questions import Answer, Answers, Slow
from ollama_fleet.sources import REGISTRY_PATH

# Command to the package that has it, the same on apt and dnf machines.
NEEDED_COMMANDS = {"nginx": "nginx", "curl": "curl", "flock": "util-linux"}
CA_BUNDLES = {
    "apt": "/etc/ssl/certs/ca-certificates.crt",
    "dnf": "/etc/pki/tls/certs/ca-bundle.crt",
}
_CURL = "curl --noproxy '*' -sS --max-time 10"


@dataclass(frozen=True)
class MirrorState:
    """A mirror's machine as it was found.

    `nginx` is what `nginx -V` says, None without nginx. `file` is mode and sha256 of its configuration.
    `is_active` and `is_enabled` are of nginx's unit. `in_force` is the digest of the configuration that
    the running nginx has, None where it answers nothing. `cache_mib`: taken by the cache, None where
    there is none yet; `free_mib`: free where it lies. `selinux_refuses`: nginx may not connect.
    """

    is_root: bool
    has_systemd: bool
    packager: str | None
    missing_packages: tuple[str, ...]
    nginx: str | None
    file: tuple[str, str] | None
    is_active: bool
    is_enabled: bool
    machine: Machine
    in_force: str | None
    registry_status: str
    cache_mib: int | None
    free_mib: int | None
    has_folder: bool
    selinux_refuses: bool


def questions(mirror: MirrorPlan) -> dict[str, str]:
    """Everything that a mirror's machine is asked, before a change and for its proof."""
    path, url = shlex.quote(mirror.cache_path), shlex.quote(mirror.own_url)
    commands = "\n".join(f"command -v {name} >/dev/null || echo {name}" for name in NEEDED_COMMANDS)
    return {
        "mirror.user": "id -u",
        "mirror.systemd": "[ -d /run/systemd/system ]",
        "mirror.os": "cat /etc/os-release",
        "mirror.commands": commands,
        "mirror.bundles": f"ls {' '.join(CA_BUNDLES.values())} 2>/dev/null; true",
        "mirror.nginx": "nginx -V",
        "mirror.file": f"stat -c %a {CONFIGURATION} && sha256sum <{CONFIGURATION}",
        "mirror.unit": "systemctl is-active nginx; systemctl is-enabled nginx; true",
        "mirror.resolvers": "cat /etc/resolv.conf; true",
        "mirror.ipv6": "[ -e /proc/net/if_inet6 ]",
        "mirror.in-force": f"{_CURL} -f {url}{STATUS_PATH}",
        "mirror.registry": f"{_CURL} -I -o /dev/null -w '%{{http_code}}' {url}{REGISTRY_PATH}/",
        "mirror.cache": Slow(f"[ ! -d {path} ] || du -sm {path} | cut -f1"),
        "mirror.free": f"""dir={path}
while [ ! -d "$dir" ]; do dir=${{dir%/*}}; [ "$dir" ] || dir=/; done
df -Pm "$dir" | awk 'NR == 2 {{ print $4 }}'""",
        "mirror.folder": f"[ -d {shlex.quote(mirror.folder or '/')} ]",
        "mirror.selinux": '[ "$(getenforce)" = Enforcing ] && getsebool httpd_can_network_connect',
    }


def read_state(answers: Answers) -> MirrorState:
    """Answers to `questions`."""
    packager = _packager(answers["mirror.os"].text)
    unit = [*answers["mirror.unit"].lines, "", ""]
    nginx = answers["mirror.nginx"]
    return MirrorState(
        is_root=answers["mirror.user"].text.strip() == "0",
        has_systemd=answers["mirror.systemd"].code == 0,
        packager=packager,
        missing_packages=_missing_packages(answers, packager),
        nginx=nginx.text if nginx.code == 0 else None,
        file=_file(answers["mirror.file"]),
        is_active=unit[0] == "active",
        is_enabled=unit[1] == "enabled",
        machine=_machine(answers, packager),
        in_force=_printed(answers["mirror.in-force"]),
        registry_status=answers["mirror.registry"].text.strip(),
        cache_mib=_number(answers["mirror.cache"]),
        free_mib=_number(answers["mirror.free"]),
        has_folder=answers["mirror.folder"].code == 0,
        selinux_refuses=answers["mirror.selinux"].text.rstrip().endswith("--> off"),
    )


def _machine(answers: Answers, packager: str | None) -> Machine:
    servers = re.findall(
        r"^nameserver\s+([0-9A-Fa-f.:]+)\s*$", answers["mirror.resolvers"].text, re.M
    )
    return Machine(
        resolvers=tuple(servers),
        ca_bundle=CA_BUNDLES.get(packager or "", CA_BUNDLES["apt"]),
        has_ipv6=answers["mirror.ipv6"].code == 0,
    )


def _packager(os_release: str) -> str | None:
    found = dict(re.findall(r'^(ID|ID_LIKE)="?([^"\n]*)"?$', os_release, re.M))
    return packager_of(found.get("ID", ""), found.get("ID_LIKE", ""))


def _missing_packages(answers: Answers, packager: str | None) -> tuple[str, ...]:
    commands = [NEEDED_COMMANDS[name] for name in answers["mirror.commands"].lines]
    bundle = CA_BUNDLES.get(packager or "")
    certificates = [] if bundle in answers["mirror.bundles"].lines else ["ca-certificates"]
    return (*commands, *certificates)


def _file(answer: Answer) -> tuple[str, str] | None:
    words = answer.text.split()
    return (words[0], words[1]) if answer.code == 0 and len(words) >= 2 else None


def _printed(answer: Answer) -> str | None:
    return answer.text.strip() if answer.code == 0 else None


def _number(answer: Answer) -> int | None:
    text = answer.text.strip()
    return int(text) if answer.code == 0 and text.isdigit() else None
