"""Shell that changes the Ollama of a host: unpack, switch, remove what is old. Pure text.

Whatever goes wrong in it leaves the release that runs as it was. The steps stand in the prelude of
`host.scripts`, which has `say` and `fail`, and stops at the first failure.
"""

import shlex
from collections.abc import Iterable

from ollama_fleet.catalogue.release import asset, unpacked_ratio
from ollama_fleet.fetching import DOWNLOADS_DIR, archive_path
from ollama_fleet.planner.plan import PREFIX, Release
from ollama_fleet.release.state import (
    CURRENT,
    INCOMING,
    InstalledReleases,
)

# What follows the first bytes of an archive: the format is told by its content. (tar itself knows zstd from
# 1.31 on, RHEL 8 has 1.30.)
FORMATS = {
    "28b52ffd*": "--use-compress-program=zstd",
    "1f8b*": "--gzip",
}
# e_machine of an ELF file's header, little-endian, as `uname -m` says it.
ELF_MACHINES = {
    "3e00": "x86_64",
    "b700": "aarch64",
    "0300": "i686",
    "2800": "armv7l",
    "f300": "riscv64",
    "1500": "ppc64le",
}
# Its exit code counts as well: an error about a program names its path, and so the version.
RUNS = """runs() {
    said=$(HOME=/ OLLAMA_HOST=127.0.0.1:1 timeout 30 "$1" --version 2>&1) &&
        printf '%s\\n' "$said" | grep -qwF "$version"
}"""
UNCHANGED = "Ollama here is unchanged"


def unpack(release: Release, arch: str, digest: str) -> str:
    """Step: the archive in DOWNLOADS, checked against its digest, becomes the release's own prefix.

    It is unpacked beside everything, run once, and moved into place; the archive is gone afterwards.
    A step before it that has verified the archive itself says so by `verified=<digest>`.
    """
    formats = "\n".join(f"{start}) how={how} ;;" for start, how in FORMATS.items())
    machines = "\n".join(f"7f454c46*{code}) built={name} ;;" for code, name in ELF_MACHINES.items())
    return f"""
archive={archive_path(digest)} digest={digest} version={release.version} prefix={release.prefix}
asset={shlex.quote(asset(release.archive, arch))} staging=$prefix.fleet-new
[ ! -e "$prefix" ] || [ -f "$prefix/.sha256" ] ||
    fail "$prefix was not put there by us; move it away and run again"
[ -f "$archive" ] || fail "the archive of Ollama $version is not in {DOWNLOADS_DIR}; {UNCHANGED}, run again"
if ! echo "$digest  $archive" | sha256sum --check --status; then
    found=$(sha256sum "$archive" | cut -d' ' -f1)
    rm -f "$archive"
    fail "sha256 of $asset as it arrived here is $found, pinned is $digest; {UNCHANGED}, run again"
fi
needed=$(($(stat -c %s "$archive") * {unpacked_ratio()} / 1048576))
free=$(df -PB1048576 {PREFIX} | tail -n 1 | awk '{{ print $(NF - 2) }}')
[ "$free" -ge "$needed" ] ||
    fail "unpacking Ollama $version takes up to $needed MiB, and $free MiB are free at {PREFIX}
(is the disk full?); {UNCHANGED}, make room and run again"
say "unpacking Ollama $version"
rm -rf "$staging"
trap 'rm -rf "$staging"' EXIT
mkdir -p "$staging" || fail "cannot write to {PREFIX} (is the disk full?); {UNCHANGED}"
start=$(od -An -tx1 -N4 "$archive" | tr -d ' \\n')
case $start in
{formats}
*) how= ;;
esac
tar --extract $how --no-same-owner --file "$archive" --directory "$staging" ||
    fail "cannot unpack $asset (is the disk full?); {UNCHANGED}"
program=$staging/bin/ollama
[ -f "$program" ] && [ -d "$staging/lib/ollama" ] ||
    fail "$asset holds no bin/ollama with its lib/ollama: it is no server; {UNCHANGED}. Correct 'archive:'"
{RUNS}
if ! runs "$program"; then
    built=
    case $(od -An -tx1 -N20 "$program" | tr -d ' \\n') in
{machines}
    esac
    [ -z "$built" ] || [ "$built" = "$(uname -m)" ] ||
        fail "$asset is built for $built, this host is $(uname -m); {UNCHANGED}. Pin the archive of {arch}"
    fail "$asset is no Ollama $version that runs here; {UNCHANGED}. It says:
$(printf '%s' "$said" | tail -c 300)"
fi
# A power cut must leave nothing that looks whole and is not.
sync -f "$staging" || fail "cannot write to {PREFIX}; {UNCHANGED}"
echo "$digest" >"$staging/.sha256"
# Another archive of this very version may be running: it is only moved aside until the new one stands.
rm -rf "$prefix.fleet-old"
[ ! -e "$prefix" ] || mv -T "$prefix" "$prefix.fleet-old"
mv -T "$staging" "$prefix"
rm -rf "$prefix.fleet-old" "$archive"
trap - EXIT
# Of releases that somebody has given up.
find {DOWNLOADS_DIR} -maxdepth 1 -type f -mtime +7 -delete
"""


def received(digest: str) -> str:
    """Step: what the controller has sent becomes an archive of DOWNLOADS, root's own."""
    sent = f"{INCOMING}/{digest}"
    return f"""
if [ -f {sent} ] && [ ! -L {sent} ]; then
    mkdir -p {DOWNLOADS_DIR}
    chown 0:0 {sent} && chmod 0600 {sent} && mv -fT {sent} {archive_path(digest)}
    rmdir {INCOMING} 2>/dev/null || :
fi"""


def prepare_incoming() -> str:
    """Step: a folder that only the login user may write to; SFTP knows no sudo."""
    return f"""
mkdir -p {PREFIX} && rm -rf {INCOMING} || fail "cannot write to {PREFIX} (is the disk full?)"
install -d -m 0700 -o "${{SUDO_UID:-${{DOAS_USER:-0}}}}" {INCOMING} ||
    fail "cannot write to {PREFIX} (is the disk full?)" """


def copy_from(path: str, digest: str) -> str:
    """Step for the machine that deploys to itself: the archive is on it already."""
    staged = f"{archive_path(digest)}.fleet-new"
    return f"""
mkdir -p {DOWNLOADS_DIR}
cp --reflink=auto {shlex.quote(path)} {staged} && mv -fT {staged} {archive_path(digest)} || {{
    rm -f {staged}
    fail "cannot write to {DOWNLOADS_DIR} (is the disk full?); {UNCHANGED}"
}}"""


def switch(release: Release, found: InstalledReleases) -> list[str]:
    """Steps: the release is the one that `current` means, and so the command."""
    steps = []
    if found.current != release.prefix:
        steps.append(
            f"say 'switching to Ollama {release.version}'\n{_link(release.prefix, CURRENT)}\n"
            # The last ones used are kept.
            f"touch {release.prefix}/.sha256"
        )
    return steps


def still_runs(release: Release) -> str:
    """Step: a release that was kept is tried before it is switched to; a damaged one is fetched anew."""
    return f"""
version={release.version} prefix={release.prefix}
{RUNS}
if ! runs "$prefix/bin/ollama"; then
    echo damaged >$prefix/.sha256
    fail "Ollama $version was kept here and does not run any more; {UNCHANGED}. Run again: it is fetched anew"
fi"""


def _link(target: str, path: str) -> str:
    blocked = f"{path} is a directory; move it away and run again"
    return (
        f"[ -L {path} ] || [ ! -d {path} ] || fail '{blocked}'\n"
        f"ln -sfn {target} {path}.fleet-new && mv -fT {path}.fleet-new {path}"
    )


def surplus(release: Release, found: InstalledReleases) -> list[str]:
    """Versions to remove, once `release` serves: ours, neither current nor in use, and not among the last
    `keep_versions` beside it."""
    current = found.current.removeprefix(f"{PREFIX}/")
    others = [name for name in found.stored if name not in (release.version, current)]
    return [name for name in others[release.keep_versions :] if name not in found.used]


def remove(versions: Iterable[str], leftovers: Iterable[str]) -> list[str]:
    """Steps: each is gone at once, for a cut run leaves only what the next one sweeps up."""
    steps = [
        f"say 'removing Ollama {name}, which was not used lately'\n"
        f"rm -rf {PREFIX}/{name}.fleet-old\n"
        f"mv -T {PREFIX}/{name} {PREFIX}/{name}.fleet-old && rm -rf {PREFIX}/{name}.fleet-old"
        for name in versions
    ]
    return [*steps, *(f"rm -rf {PREFIX}/{name}" for name in leftovers)]
