"""Room on the file systems that a machine cannot do without: its root, the state, the logs, a host's model
store.

What is full there does not stop who serves. It stops what comes next: the journal, a new certificate, CUDA's
cache of kernels, the next release, a model, the build of a driver's module.
"""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ollama_fleet.checks.model import Asked, Check, CheckResult, Subject
from ollama_fleet.planner.plan import PREFIX, STATE_DIR, HostPlan

MIB = 2**20
QUESTION = "file systems"
LOGS = "/var/log"
# As the journal does: it keeps 15 % free, 4 GiB at the most, and drops old entries below that. The next
# release of Ollama needs as much while it is unpacked.
SCARCE_MIB, SCARCE_SHARE = 4096, 0.15
# Below it a build of the driver's module, a model or a release ends in an error at any time.
FULL_MIB, FULL_SHARE = 1024, 0.04
SCARCE_INODES, FULL_INODES = 0.05, 0.01


@dataclass(frozen=True)
class FileSystem:
    """A file system, named by the first of our folders on it; `inode_share`: free ones of all, None where
    it has no fixed number of them."""

    path: str
    size_mib: int
    free_mib: int
    inode_share: float | None

    @property
    def full(self) -> bool:
        """Whether the next write may fail."""
        return self.free_mib < min(FULL_MIB, FULL_SHARE * self.size_mib) or self._few(FULL_INODES)

    @property
    def scarce(self) -> bool:
        """Whether it will be full soon."""
        least = min(SCARCE_MIB, SCARCE_SHARE * self.size_mib)
        return self.free_mib < least or self._few(SCARCE_INODES)

    def _few(self, share: float) -> bool:
        return self.inode_share is not None and self.inode_share < share

    def __str__(self) -> str:
        free = f"{self.free_mib} MiB" if self.free_mib < 10_240 else f"{self.free_mib // 1024} GiB"
        words = f"{free} free at {self.path}"
        return (
            f"{words}, {self.inode_share:.1%} of its inodes" if self._few(SCARCE_INODES) else words
        )


def paths(plan: HostPlan) -> tuple[str, ...]:
    """Folders whose file systems matter."""
    return ("/", STATE_DIR, plan.store.path, LOGS, PREFIX)


def questions(folders: Iterable[str]) -> dict[str, str]:
    """What to ask about the file systems of some folders."""
    names = " ".join(map(shlex.quote, dict.fromkeys(folders)))
    # What is not there lies on the file system of what is.
    return {QUESTION: f"stat -f -c '%i %S %b %a %c %d %n' {names} 2>/dev/null; true"}


def read_file_systems(text: str) -> list[FileSystem]:
    """Lines `<id> <block size> <blocks> <free ones> <inodes> <free ones> <folder>`; each file system once."""
    found: dict[str, FileSystem] = {}
    for words in (line.split(" ", 6) for line in text.splitlines()):
        if len(words) != 7 or not all(word.isdigit() for word in words[1:6]):
            continue
        block, blocks, free, inodes, left = map(int, words[1:6])
        share = left / inodes if inodes else None
        item = FileSystem(words[6], blocks * block // MIB, free * block // MIB, share)
        found.setdefault(words[0], item)
    return list(found.values())


def judge(asked: Asked, subject: str, remedy: str) -> Iterator[CheckResult]:
    """The result about a machine's file systems; `remedy`: how room is made there."""
    found = read_file_systems(asked.text(QUESTION))
    if not found:
        return
    full, scarce = ([one for one in found if getattr(one, kind)] for kind in ("full", "scarce"))
    yield asked.result(
        subject,
        "disk",
        good=not scarce and not full,
        expected=f"{FULL_MIB} MiB or {FULL_SHARE:.0%} free, better {SCARCE_MIB} MiB or {SCARCE_SHARE:.0%}, "
        "and inodes, where state and logs lie",
        found="; ".join(map(str, full or scarce or found)),
        remedy=f"make room: `journalctl --vacuum-size=500M`, caches of packages, {remedy}",
        warns=not full,
    )


def _disk(subject: Subject) -> Iterator[CheckResult]:
    models = "models that nobody names (`models: {keep_unlisted: false}`)"
    return judge(subject.asked, "host", models)


CHECK = Check("disk", _disk, lambda plan: questions(paths(plan)))
