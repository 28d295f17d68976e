"""Containers: one safe version of the toolkit, and a container of Docker and Podman that lists the GPUs.

containerd has nothing to run one with by itself: of it is known only how it is configured.
"""

import re
from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.containers import packages, probe
from ollama_fleet.containers.decision import PODMAN_CDI
from ollama_fleet.containers.packages import OLDEST, number
from ollama_fleet.planner.plan import HostPlan

HOST = "host"
_DEVICE = re.compile(r"\(UUID: ((?:GPU|MIG)-[^)]+)\)")
_LISTED = re.compile(r"nvidia\.com/gpu=(\d+(?::\d+)?|(?:GPU|MIG)-\S+)$", re.M)
_PODMAN = ".".join(map(str, PODMAN_CDI))
_RUNTIMES = f"""command -v nvidia-ctk >/dev/null && echo toolkit
command -v dockerd >/dev/null && systemctl is-active --quiet docker.service && echo docker
command -v containerd >/dev/null && echo containerd
command -v podman >/dev/null && {{
    version=$(podman --version | sed 's/.* //')
    [ "$(printf '%s\\n' {_PODMAN} "$version" | sort -V | head -n 1)" != {_PODMAN} ] || echo podman
}}
true"""

# Compared with what containers see, so it is asked only where there may be any.
_LISTING = """for name in nvidia-ctk dockerd containerd podman; do
    ! command -v "$name" >/dev/null || exec nvidia-smi -L
done"""

# Where it is not Docker's own; what it reads may be more than the one file that we write.
_CONTAINERD = """command -v containerd >/dev/null || exit 0
! command -v dockerd >/dev/null || command -v kubelet >/dev/null || exit 0
containerd config dump 2>/dev/null | grep -qE 'nvidia-container-runtime|runtimes\\.nvidia\\]' &&
    echo configured || echo without"""


def _questions(plan: HostPlan) -> dict[str, str]:
    """A container starts only where the runtime and the toolkit are."""
    if plan.provision.toolkit.install is False:
        return {}
    have = "command -v nvidia-ctk >/dev/null || exit 0\n"
    docker = (
        "command -v dockerd >/dev/null && systemctl is-active --quiet docker.service || exit 0\n"
    )
    podman = f"( {_RUNTIMES} ) | grep -qx podman || exit 0\n"
    return {
        "containers runtimes": _RUNTIMES,
        "containers packages": packages.QUESTION,
        "containers host": _LISTING
        if plan.provision.container_runtime is None
        else "nvidia-smi -L",
        "containers cdi": "nvidia-ctk cdi list",
        "containers docker": have + docker + probe.docker_question(),
        "containers podman": have + podman + probe.podman_question(),
        "containers containerd": have + _CONTAINERD,
    }


def _runtimes(subject: Subject) -> list[str]:
    """Runtimes on this host that are to give GPUs to containers, and the toolkit if it is there; none
    where that is none of our business."""
    found = subject.text("containers runtimes").split()
    provision = subject.plan.provision
    asked = provision.toolkit.install or provision.container_runtime is not None
    ours = bool(subject.hardware.gpus) and (asked or found != ["toolkit"])
    return found if ours else []


def _toolkit(subject: Subject) -> Iterator[CheckResult]:
    """One version of all packages that are there, without the known hole."""
    rows = [line.split() for line in subject.text("containers packages").splitlines()]
    versions = {row[1]: row[2] for row in rows if len(row) == 3 and row[0] == "installed"}
    if not versions and not (_runtimes(subject) or subject.plan.provision.toolkit.install):
        return
    same = sorted(set(versions.values()))
    oldest = ".".join(map(str, OLDEST))
    yield subject.result(
        HOST,
        "container toolkit",
        good=len(same) == 1 and number(same[0]) >= OLDEST,
        expected=f"one version, {oldest} or newer",
        found=same[0]
        if len(same) == 1
        else ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        or "not installed",
        remedy="deploy again; see `apt-cache policy` or `dnf versionlock list` if it comes back",
    )


def _specification(subject: Subject) -> Iterator[CheckResult]:
    """A GPU that is cut is listed as its instances; UUIDs are listed by newer toolkits only."""
    if "toolkit" not in _runtimes(subject):
        return
    names = set(_LISTED.findall(subject.text("containers cdi")))
    wanted = _names(subject.text("containers host"))
    if not any("-" in name for name in names):
        wanted = {name for name in wanted if "-" not in name}
    missing = sorted(wanted - names)
    gone = sorted(name for name in names - wanted if ":" in name or name.startswith("MIG-"))
    found = [f"without {', '.join(missing)}"] if missing else []
    found += [f"with {', '.join(gone)}, gone by now"] if gone else []
    yield subject.result(
        HOST,
        "cdi specification",
        good=not found,
        expected="the devices that nvidia-smi lists",
        found=" and ".join(found) or f"{len(names)} names",
        remedy="`systemctl restart nvidia-cdi-refresh`, then restart containers with a GPU",
    )


def _names(listed: str) -> set[str]:
    """`0` and its UUID of a whole GPU, `0:1` and its UUID of a MIG device, of `nvidia-smi -L`."""
    found: set[str] = set()
    gpu: tuple[str, str] = ("", "")
    for line in listed.splitlines():
        if match := re.match(r"GPU (\d+): .*\(UUID: (GPU-[^)]+)\)", line):
            gpu = (match.group(1), match.group(2))
            found |= {*gpu}
        elif match := re.match(r"\s+MIG \S+\s+Device\s+(\d+): \(UUID: (MIG-[^)]+)\)", line):
            found -= {*gpu}
            found |= {f"{gpu[0]}:{match.group(1)}", match.group(2)}
    return found


def _sees_gpus(subject: Subject) -> Iterator[CheckResult]:
    wanted = _DEVICE.findall(subject.text("containers host"))
    running = [name for name in _runtimes(subject) if name in ("docker", "podman")]
    asked = subject.plan.provision.container_runtime
    for name in dict.fromkeys([*([asked] if asked else []), *running]):
        if f"containers {name}" not in subject.answers:  # a quick verification runs none
            continue
        text = subject.text(f"containers {name}") if name in running else "it does not run"
        found = _DEVICE.findall(text)
        said = "" if found else " ".join(text.split())[-200:]
        yield subject.result(
            HOST,
            f"{name} container",
            good=bool(wanted) and sorted(found) == sorted(wanted),
            expected=f"{len(wanted)} devices, as nvidia-smi lists them on the host",
            found=f"{len(found)} devices" + (f" ({said})" if said else ""),
            remedy="deploy again; `systemctl restart nvidia-cdi-refresh` after a change of MIG; see "
            "`nvidia-ctk cdi list`",
        )


def _containerd(subject: Subject) -> Iterator[CheckResult]:
    said = subject.text("containers containerd").strip()
    if said and "containerd" in _runtimes(subject):
        yield subject.result(
            HOST,
            "containerd runtime",
            good=said == "configured",
            expected="nvidia in its configuration",
            found="configured; no container was run" if said == "configured" else "not configured",
            remedy="deploy again; see `containerd config dump`: a file of its `imports` may replace it",
        )


CHECKS = (
    Check("container toolkit", _toolkit, _questions),
    Check("cdi specification", _specification),
    Check("container sees gpus", _sees_gpus),
    Check("containerd runtime", _containerd),
)
