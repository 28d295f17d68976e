"""The Ollama release of a host: a versioned prefix, and a link that is switched atomically."""

import shlex
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from pyinfra import host
from pyinfra.api import operation

from ollama_fleet.fetching import (
    DOWNLOADS_DIR,
    RELEASE_UNIT,
    archive_path,
    release_job,
    start_step,
    wait_script,
)
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script, put_file
from ollama_fleet.planner.plan import PREFIX, HostPlan, Release
from ollama_fleet.preflight import ARCHITECTURES
from ollama_fleet.questions import Answers
from ollama_fleet.render_store import fetch_script
from ollama_fleet.templating import HostFile

CURRENT = f"{PREFIX}/current"
COMMAND = "/usr/local/bin/ollama"

QUESTIONS = {
    "machine": "uname -m",
    "installed": f"""for digest in {PREFIX}/*/.sha256; do
    prefix=${{digest%/.sha256}}
    [ -s "$prefix/bin/ollama" ] && [ -x "$prefix/bin/ollama" ] && [ -d "$prefix/lib/ollama" ] || continue
    read -r value <"$digest" && echo "$prefix $value"
done; true""",
    "current": f"readlink {CURRENT}; true",
    "command": f"[ -e {COMMAND} ] && [ ! -L {COMMAND} ] && echo other || readlink {COMMAND}; true",
}


def asked(plan: HostPlan) -> dict[str, str]:
    """What `release_installed` asks, whatever the plan."""
    return QUESTIONS


@dataclass(frozen=True)
class InstalledReleases:
    """What of Ollama is on a host. `prefixes` maps a directory to its archive's sha256."""

    arch: str
    prefixes: dict[str, str]
    current: str
    command: str


def read_installed(answers: Answers) -> InstalledReleases:
    """Answers to QUESTIONS."""
    machine = answers["machine"].text.strip()
    rows = [line.split() for line in answers["installed"].lines]
    return InstalledReleases(
        arch=ARCHITECTURES.get(machine, machine),
        prefixes={row[0]: row[1] for row in rows if len(row) == 2},
        current=answers["current"].text.strip(),
        command=answers["command"].text.strip(),
    )


def start_release(plan: HostPlan, found: InstalledReleases) -> str | None:
    """A step that starts the download of the planned archive; None when the host has what is in it."""
    release = plan.ollama
    digest = release.sha256.get(found.arch)
    if digest is None or found.prefixes.get(release.prefix) == digest:
        return None
    job = HostFile(RELEASE_UNIT.job, release_job(plan, archive_url(release, found.arch), digest))
    steps = [
        f"mkdir -p {DOWNLOADS_DIR} || fail 'cannot write to {PREFIX} (is the disk full?)'",
        put_file(fetch_script()),
        put_file(job),
        start_step(RELEASE_UNIT, f"Ollama {release.version}", plan.provision.environment),
    ]
    return "\n".join(steps)


def archive_url(release: Release, arch: str) -> str:
    """Where the archive of a release is."""
    asset = f"ollama-linux-{arch}.tar.zst"
    return f"{release.release_url.rstrip('/')}/v{release.version}/{asset}"


def install_script(release: Release, found: InstalledReleases) -> str | None:
    """Shell that unpacks `release`, whose archive is there, and switches to it; None when it is there
    and current.

    None as well for an architecture without a pinned checksum: preflight fails such a host.
    """
    digest = release.sha256.get(found.arch)
    if digest is None:
        return None
    steps = []
    if found.prefixes.get(release.prefix) != digest:
        steps.append(_unpack(release, found.arch, digest))
    if found.current != release.prefix:
        steps.append(
            f"say 'switching to Ollama {release.version}'\n{_link(release.prefix, CURRENT)}"
        )
    program = f"{CURRENT}/bin/ollama"
    # A program that somebody else put there stays.
    if found.command not in (program, "other"):
        steps.append(_link(program, COMMAND))
    return change_script(steps) if steps else None


def _link(target: str, path: str) -> str:
    blocked = f"{path} is a directory; move it away and run again"
    return (
        f"[ -L {path} ] || [ ! -d {path} ] || fail '{blocked}'\n"
        f"ln -sfn {target} {path}.fleet-new && mv -fT {path}.fleet-new {path}"
    )


def _unpack(release: Release, arch: str, digest: str) -> str:
    return f"""
url={shlex.quote(archive_url(release, arch))} digest={digest} version={release.version}
prefix={release.prefix} staging=$prefix.fleet-new archive={archive_path(digest)}
if ! echo "$digest  $archive" | sha256sum --check --status 2>/dev/null; then
    rm -f "$archive"
    fail "the archive of Ollama $version is not whole in {DOWNLOADS_DIR}; Ollama here is unchanged, run again"
fi
say "unpacking Ollama $version"
rm -rf "$staging"
trap 'rm -rf "$staging"' EXIT
mkdir -p "$staging" || fail "cannot write to {PREFIX} (is the disk full?)"
tar --extract --use-compress-program=zstd --no-same-owner --file "$archive" --directory "$staging" ||
    fail "cannot unpack $url (is the disk full?); Ollama here is unchanged"
HOME=/ OLLAMA_HOST=127.0.0.1:1 timeout 30 "$staging/bin/ollama" --version 2>&1 | grep -qwF "$version" ||
    fail "$url does not hold an Ollama $version that runs here; Ollama here is unchanged"
echo "$digest" >"$staging/.sha256"
# Another archive of this very version may be running: it is only moved aside until the new one stands.
rm -rf "$prefix.fleet-old"
[ ! -e "$prefix" ] || mv -T "$prefix" "$prefix.fleet-old"
mv -T "$staging" "$prefix"
rm -rf "$prefix.fleet-old" "$archive"
trap - EXIT
"""


@operation()
def release_installed(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure the planned Ollama release is installed under its own prefix and is the current one.

    The archive is checked against its pinned sha256 before it is unpacked, and unpacked beside the
    version that runs; whatever goes wrong leaves that one untouched.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        release_installed(name="Install Ollama", plan=plan)
    """
    answers = ask(QUESTIONS)
    if not QUESTIONS.keys() <= answers.keys():
        yield no_answer()
        return
    found = read_installed(answers)
    start = start_release(plan, found)
    script = install_script(plan.ollama, found)
    if start:
        yield Script(change_script([start]))
        yield Script(wait_script(RELEASE_UNIT))
    if script:
        yield Script(script)
    else:
        host.noop(f"Ollama {plan.ollama.version} is installed")
