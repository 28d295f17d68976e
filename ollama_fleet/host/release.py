"""The Ollama release of a host: a versioned prefix, and a link that is switched atomically."""

import shlex
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from pyinfra import host
from pyinfra.api import operation

from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import NOTHING, Script, change_script
from ollama_fleet.planner.plan import PREFIX, HostPlan, Release
from ollama_fleet.preflight import ARCHITECTURES
from ollama_fleet.questions import Answers

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


def install_script(
    release: Release, found: InstalledReleases, environment: Mapping[str, str] = NOTHING
) -> str | None:
    """Shell that brings `release` onto the host, or None when it is there and current.

    None as well for an architecture without a pinned checksum: preflight fails such a host.
    `environment` is what its downloads see.
    """
    digest = release.sha256.get(found.arch)
    if digest is None:
        return None
    steps = []
    if found.prefixes.get(release.prefix) != digest:
        steps.append(_fetch_and_unpack(release, found.arch, digest))
    if found.current != release.prefix:
        steps.append(
            f"say 'switching to Ollama {release.version}'\n{_link(release.prefix, CURRENT)}"
        )
    program = f"{CURRENT}/bin/ollama"
    # A program that somebody else put there stays.
    if found.command not in (program, "other"):
        steps.append(_link(program, COMMAND))
    return change_script(steps, environment) if steps else None


def _link(target: str, path: str) -> str:
    blocked = f"{path} is a directory; move it away and run again"
    return (
        f"[ -L {path} ] || [ ! -d {path} ] || fail '{blocked}'\n"
        f"ln -sfn {target} {path}.fleet-new && mv -fT {path}.fleet-new {path}"
    )


def _fetch_and_unpack(release: Release, arch: str, digest: str) -> str:
    asset = f"ollama-linux-{arch}.tar.zst"
    url = f"{release.release_url.rstrip('/')}/v{release.version}/{asset}"
    return f"""
url={shlex.quote(url)} digest={digest} version={release.version} prefix={release.prefix}
archive={PREFIX}/download/$digest staging=$prefix.fleet-new
mkdir -p {PREFIX}/download || fail "cannot write to {PREFIX} (is the disk full?)"
matches() {{ [ -f "$archive" ] && echo "$digest  $archive" | sha256sum --check --status; }}
if ! matches; then
    say "downloading $url"
    curl -fsSL --connect-timeout 20 --retry 3 --retry-delay 2 -C - -o "$archive" "$url" &
    while sleep 0.2; kill -0 $! 2>/dev/null; do
        waited=$((${{waited:-0}} + 1))
        [ $((waited % 50)) -ne 0 ] || say "  $(du -m "$archive" | cut -f1) MB so far"
    done
    code=0; wait $! || code=$?
    if [ $code -ne 0 ]; then
        # 22 and 33: the server cannot continue what lies here.
        case $code in 22|33|36) rm -f "$archive";; 23) fail "cannot write $archive (is the disk full?)";; esac
        fail "cannot download $url (curl exit code $code); Ollama here is unchanged, run again"
    fi
    if ! matches; then
        found=$(sha256sum "$archive" | cut -d' ' -f1)
        rm -f "$archive"
        fail "sha256 of $url is $found, pinned is $digest; Ollama here is unchanged. Compare the
pin with the release's sha256sum.txt"
    fi
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
def release_installed(
    release: Release, environment: Mapping[str, str] = NOTHING
) -> Generator[Any, None, None]:
    """
    Ensure an Ollama release is installed under its own prefix and is the current one.

    The archive is checked against its pinned sha256 before it is unpacked, and unpacked beside the
    version that runs; whatever goes wrong leaves that one untouched.

    + release: version, checksums and where it lies
    + environment: what downloads see, such as a proxy's address

    **Example:**

    .. code:: python

        release_installed(name="Install Ollama", release=plan.ollama)
    """
    answers = ask(QUESTIONS)
    if not QUESTIONS.keys() <= answers.keys():
        yield no_answer()
        return
    script = install_script(release, read_installed(answers), environment)
    if script:
        yield Script(script)
    else:
        host.noop(f"Ollama {release.version} is installed")
