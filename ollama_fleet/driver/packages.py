"""The driver's packages as a host has them, and what keeps them in their version. Pure text."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_KERNEL = "linux-image-"
# The driver's own by name, as `pm_family` of templates/driver/dnf.sh has them: what gets a lock.
LOCKED = ("nvidia-", "libnvidia-", "libnvsdm", "kmod-nvidia", "cuda-drivers")


@dataclass(frozen=True)
class Package:
    """An installed package; `broken` when dpkg has not finished with it."""

    name: str
    version: str
    broken: bool = False

    @property
    def driver_version(self) -> str | None:
        """The driver's version in the package's ('580.95.05-1' → '580.95.05')."""
        found = re.match(r"(?:\d+:)?(\d{3}\.\d+(?:\.\d+)?)(?=[-~+]|$)", self.version)
        return found.group(1) if found else None


def unlocked(packages: Iterable[Package], locks: Iterable[str], version: str) -> list[str]:
    """Names of the driver's packages in `version` that no line of dnf's versionlock.list holds as they
    are: `name-epoch:version-release.architecture`, with a * for the last."""
    held = {re.sub(r"-\d+:", "-", lock).rpartition(".")[0] for lock in locks}
    return [
        item.name
        for item in packages
        if item.driver_version == version
        and item.name.startswith(LOCKED)
        and f"{item.name}-{item.version}" not in held
    ]


def read_packages(lines: list[str]) -> tuple[Package, ...]:
    """`<status>|<name>|<version>`; what is removed but for its settings is not installed."""
    return tuple(
        Package(name, version, broken=not re.match("[ih]i *$", status))
        for status, name, version in (line.split("|") for line in lines if line.count("|") == 2)
        if status[1:2] in "iUFHWt" and "container" not in name and not name.startswith(_KERNEL)
    )


def read_images(lines: list[str]) -> tuple[str, ...]:
    """Kernels that are wholly installed, out of the same lines."""
    return tuple(re.findall(rf"^[ih]i *\|({_KERNEL}[^|]*)", "\n".join(lines), re.M))


def read_pinned(lines: list[str]) -> str | None:
    """The version that stands last among the locks."""
    return next((line.strip() for line in reversed(lines) if ":" not in line), None)


def read_locks(lines: list[str]) -> tuple[str, ...]:
    """The locks before it."""
    return tuple(line.strip() for line in lines if ":" in line)
