"""The Ollama release of a host: a versioned prefix, and a link that is switched atomically."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import operation

from ollama_fleet.fetching import (
    DOWNLOADS_DIR,
    RELEASE_UNIT,
    release_job,
    start_step,
    wait_script,
)
from ollama_fleet.hardware.found import HARDWARE_QUESTIONS, parse_pci
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.delivery import archive_sent
from ollama_fleet.host.scripts import Script, change_script, put_file
from ollama_fleet.planner.plan import PREFIX, HostPlan, Release
from ollama_fleet.questions import Answers
from ollama_fleet.release import script
from ollama_fleet.release.problems import release_problems
from ollama_fleet.release.state import (
    CURRENT,
    InstalledReleases,
    install_questions,
    old_question,
    questions,
    read_state,
)
from ollama_fleet.render_store import fetch_script
from ollama_fleet.templating import HostFile

__all__ = [
    "CURRENT",
    "asked",
    "old_releases_removed",
    "problems",
    "read_state",
    "release_installed",
]


def asked(plan: HostPlan) -> dict[str, str]:
    """What `release_installed` and `old_releases_removed` ask, and preflight for them."""
    return {**questions(plan), "pci": HARDWARE_QUESTIONS["pci"]}


def problems(plan: HostPlan, answers: Answers) -> list[str]:
    """What keeps the release from a host, before anything is changed there."""
    return release_problems(plan, read_state(answers), bool(parse_pci(answers["pci"].text)))


def start_release(plan: HostPlan, found: InstalledReleases) -> str | None:
    """A step that starts the download of the planned archive; None when the host has what is in it, or
    gets it from the controller."""
    release = plan.ollama
    digest = release.sha256.get(found.arch)
    if digest is None or not _is_missing(release, found) or release.delivery == "controller":
        return None
    job = HostFile(RELEASE_UNIT.job, release_job(plan, release.url(found.arch), digest))
    steps = [
        f"mkdir -p {DOWNLOADS_DIR} || fail 'cannot write to {PREFIX} (is the disk full?)'",
        put_file(fetch_script()),
        put_file(job),
        start_step(RELEASE_UNIT, f"Ollama {release.version}", plan.provision.environment),
    ]
    return "\n".join(steps)


def install_script(release: Release, found: InstalledReleases, switches: bool = True) -> str | None:
    """Shell that unpacks `release`, whose archive is there, and switches to it; None when it is there
    and current. `switches` False: whoever changes the slices does that.

    None as well for an architecture without a pinned checksum: preflight fails such a host.
    """
    digest = release.sha256.get(found.arch)
    if digest is None:
        return None
    steps = []
    if _is_missing(release, found):
        if release.delivery == "controller":
            steps.append(script.received(digest))
        steps.append(script.unpack(release, found.arch, digest))
    elif found.current != release.prefix:
        steps.append(script.still_runs(release))
    if switches:
        steps += script.switch(release, found)
    return change_script(steps) if steps else None


def _is_missing(release: Release, found: InstalledReleases) -> bool:
    return found.prefixes.get(release.prefix) != release.sha256[found.arch]


@operation()
def release_installed(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure the planned Ollama release is installed under its own prefix and is the current one.

    The archive is checked against its pinned sha256 before it is unpacked, and unpacked beside the
    version that runs; whatever goes wrong leaves that one untouched. A release that was kept is
    switched to without any download.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        release_installed(name="Install Ollama", plan=plan)
    """
    release = plan.ollama
    wanted = install_questions(release)
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
        return
    found = read_state(answers)
    # Behind a gateway slices change to it one by one, or go back to what is the current one until then.
    switches = plan.hop is None or not found.current
    text = install_script(release, found, switches)
    if text is None:
        host.noop(f"Ollama {release.version} is installed")
        return
    start = start_release(plan, found)
    if start:
        yield Script(change_script([start]))
        yield Script(wait_script(RELEASE_UNIT))
    elif _is_missing(release, found) and release.sha256[found.arch] not in found.archives:
        yield from archive_sent(release, found.arch, release.sha256[found.arch])
    yield Script(text)


@operation()
def old_releases_removed(release: Release) -> Generator[Any, None, None]:
    """
    Ensure that no more releases are kept than the plan says; for when the current one serves.

    Removes only what this fleet has put there, and nothing that a process or a unit runs from.

    + release: the current one; its `keep_versions` others stay, the last ones used

    **Example:**

    .. code:: python

        old_releases_removed(name="Remove old releases", release=plan.ollama)
    """
    wanted = {**install_questions(release), **old_question(release)}
    answers = ask(wanted)
    if not wanted.keys() <= answers.keys():
        yield no_answer()
        return
    found = read_state(answers)
    steps = script.remove(script.surplus(release, found), found.leftovers)
    if steps:
        yield Script(change_script(steps))
    else:
        host.noop("no release is there too much")
