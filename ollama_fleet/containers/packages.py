"""The toolkit's four packages: their repository and key, one version of all, and the pin: shell.

A key is trusted by its full fingerprint only.
"""

import hashlib
import re
import shlex
from collections.abc import Mapping

from ollama_fleet.catalogue.distribution import packager_of, words_of
from ollama_fleet.containers.cdi import own_unit
from ollama_fleet.planner.provision import ToolkitRequest
from ollama_fleet.templating import MARKER, HostFile

BASE = "nvidia-container-toolkit-base"
# In the order in which they are named to people; all of one version.
PACKAGES = ("nvidia-container-toolkit", BASE, "libnvidia-container-tools", "libnvidia-container1")
RELEASE = "-1"
# CVE-2025-23266 (NVIDIAScape): a container gets root on its host, up to 1.17.7.
OLDEST = (1, 17, 8)
# cudatools@nvidia.com, "Open Source Projects", of 2017; the same for every distribution.
FINGERPRINT = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
DEB_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# What provides a Docker engine, the first that is to be had.
DOCKER_PACKAGES = {"apt": ("docker.io",), "dnf": ("docker-ce", "moby-engine")}

KEYRING = "/usr/share/keyrings/fleet-container-toolkit.gpg"
RPM_KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-fleet-container-toolkit"
APT_SOURCE = "/etc/apt/sources.list.d/fleet-container-toolkit.sources"
APT_PIN = "/etc/apt/preferences.d/fleet-container-toolkit"
RPM_SOURCE = "/etc/yum.repos.d/fleet-container-toolkit.repo"
VERSIONLOCK = "/etc/dnf/plugins/versionlock.list"
OWN = (KEYRING, RPM_KEY, APT_SOURCE, APT_PIN, RPM_SOURCE, own_unit().path)

# A host may have tools of both families; its own words decide.
_IS_APT = f""". /etc/os-release
case " $ID $ID_LIKE " in {" | ".join(f"*{word}*" for word in words_of("apt"))}) apt=1 ;; *) apt= ;; esac
"""
QUESTION = f"""{_IS_APT}
if [ "$apt" ]; then
    dpkg-query -W -f '${{db:Status-Status}} ${{Package}} ${{Version}}\\n' {" ".join(PACKAGES)}
else
    rpm -q --qf 'installed %{{NAME}} %{{VERSION}}-%{{RELEASE}}\\n' {" ".join(PACKAGES)}
fi 2>/dev/null
true"""
OWN_FILES_QUESTION = f"""for file in {" ".join(OWN)}; do
    [ ! -f "$file" ] || echo "$(stat -c %a "$file") $(sha256sum <"$file" | cut -d' ' -f1) $file"
done
if [ -f {VERSIONLOCK} ]; then
    echo "lock $(grep -E '^({"|".join(PACKAGES)})-0:' {VERSIONLOCK} | xargs | tr ' ' ,) {VERSIONLOCK}"
fi"""
CANDIDATE_QUESTION = f"""{_IS_APT}
if [ "$apt" ]; then
    echo {DOCKER_PACKAGES["apt"][0]}
elif command -v dockerd >/dev/null; then
    :
else
    timeout 120 dnf -q list --available {" ".join(DOCKER_PACKAGES["dnf"])} 2>/dev/null |
        sed -nE 's/^({"|".join(DOCKER_PACKAGES["dnf"])})\\..*/\\1/p'
fi
true"""


def family(os_release: str) -> str | None:
    """apt or dnf, of /etc/os-release; None for what is neither."""
    found = dict(re.findall(r'^(ID|ID_LIKE)="?([^"\n]*)"?$', os_release, re.M))
    return packager_of(found.get("ID", ""), found.get("ID_LIKE", ""))


def number(version: str) -> tuple[int, ...]:
    """`1.17.8-1` → (1, 17, 8); empty for what is no version, so that it is older than any."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()


def source_files(kind: str, arch: str, request: ToolkitRequest) -> list[HostFile]:
    """Source and pin for the `kind` (apt, dnf) of host; of dnf's the pin is no file of ours."""
    # The fingerprint stands in the source, so that another one brings the key anew.
    key = request.key_fingerprint or FINGERPRINT
    if request.key:  # written into the source, so that another key is one to install
        key = hashlib.sha1(request.key.encode(), usedforsecurity=False).hexdigest()
    head = f"# {MARKER}; key {key.upper()}\n"
    if kind == "dnf":
        return [HostFile(RPM_SOURCE, head + _rpm_source(request.repository))]
    source = (
        f"Types: deb\nURIs: {request.repository}/stable/deb/{DEB_ARCHITECTURES.get(arch, arch)}\n"
        f"Suites: /\nSigned-By: {KEYRING}\n"
    )
    pin = (
        f"Package: {' '.join(PACKAGES)}\nPin: version {request.version}{RELEASE}\n"
        "Pin-Priority: 1001\n"
    )
    return [HostFile(APT_SOURCE, head + source), HostFile(APT_PIN, f"# {MARKER}\n{pin}")]


def _rpm_source(repository: str) -> str:
    """Its metadata is signed, its packages are not (as in NVIDIA's own file)."""
    return (
        "[fleet-container-toolkit]\nname=NVIDIA Container Toolkit\n"
        f"baseurl={repository}/stable/rpm/$basearch\nenabled=1\ngpgcheck=0\nrepo_gpgcheck=1\n"
        f"gpgkey=file://{RPM_KEY}\n"
    )


def proxy_step(environment: Mapping[str, str]) -> str:
    """Shell: everything that the script fetches goes through the proxy of `environment`."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())


def key_step(kind: str, request: ToolkitRequest) -> str:
    """Shell that fetches the repository's key and keeps it only if it is the very one; a key that the
    inventory gives is only unpacked."""
    pinned = request.key_fingerprint or (None if request.key else FINGERPRINT)
    wanted = pinned.upper() if pinned else '"$found"'
    url = shlex.quote(f"{request.repository}/gpgkey")
    get = f"""curl -fsSL --retry 3 --max-time 60 -o "$work/key" {url} ||
        fail 'cannot fetch '{url}'; set container_toolkit: repository to a mirror, or proxy:'"""
    if request.key:
        get, url = f'echo {request.key} | base64 -d >"$work/key"', "'container_toolkit: key'"
    target, armour = (KEYRING, "--export") if kind == "apt" else (RPM_KEY, "--armor --export")
    install = "apt-get -qq update\n    apt-get -qq install -y gpg >/dev/null"
    if kind == "dnf":
        install = "dnf -q -y install gnupg2"
    return f"""if ! command -v gpg >/dev/null; then
    {install}
fi
(
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    export GNUPGHOME=$work
    {get}
    gpg --batch --quiet --import "$work/key" 2>/dev/null || fail {url}' holds no key'
    found=$(gpg --batch --with-colons --list-keys 2>/dev/null |
        awk -F: '$1 == "pub" {{ want = 1 }} $1 == "fpr" && want {{ print $10; want = 0 }}' | xargs)
    [ "$found" = {wanted} ] ||
        fail {url}" holds the key $found, not {wanted}; set container_toolkit: key_fingerprint if \
that is right"
    gpg --batch --quiet {armour} >"$work/trusted"
    mkdir -p {target.rpartition("/")[0]}
    install -m 644 "$work/trusted" {target}
)"""


# What a power cut left half done; apt refuses everything until it is finished.
_FINISH = """if [ -n "$(ls /var/lib/dpkg/updates 2>/dev/null)" ]; then
    say 'dpkg was interrupted; finishing what it was at'
    dpkg --force-confold --configure -a >/dev/null
fi
"""


def install_step(kind: str, names: tuple[str, ...], request: ToolkitRequest) -> str:
    """Shell that brings all of `names` to the version in one transaction."""
    version = f"{request.version}{RELEASE}"
    said = f"say 'installing {', '.join(names)} {version}'"
    if kind == "apt":
        words = " ".join(f"{name}={version}" for name in names)
        return f"""{said}
{_FINISH}apt-get -qq update
apt-get -qq install -y --no-install-recommends --allow-downgrades --allow-change-held-packages \\
    -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold {words} >/dev/null"""
    words = " ".join(f"{name}-{version}" for name in names)
    return f"{said}\n{unlock_step()}\ndnf -q -y --allowerasing install {words}"


def locked(version: str) -> str:
    """Our lines of dnf's version lock, as OWN_FILES_QUESTION prints them."""
    return ",".join(f"{name}-0:{version}.*" for name in PACKAGES)


def unlock_step() -> str:
    """Shell that takes our packages out of dnf's version lock."""
    pattern = "|".join(PACKAGES)
    return f"[ ! -f {VERSIONLOCK} ] || sed -i -E '/^({pattern})-0:/d' {VERSIONLOCK}"


def lock_step(version: str) -> str:
    """Shell that locks our packages to `version`, in dnf's own file."""
    lines = locked(version).replace(",", "\\n")
    return f"""if ! ls /usr/lib/python3*/*-packages/dnf-plugins/versionlock.py >/dev/null 2>&1; then
    dnf -q -y install python3-dnf-plugin-versionlock ||
        say 'dnf has no versionlock plugin here: nothing keeps the toolkit at {version}'
fi
mkdir -p {VERSIONLOCK.rpartition("/")[0]}
printf '{lines}\\n' >>{VERSIONLOCK}"""


def docker_step(kind: str, package: str) -> str:
    """Shell that installs a Docker engine from the host's own sources, and starts it."""
    install = (
        f"{_FINISH}apt-get -qq update\n"
        f"apt-get -qq install -y -o DPkg::Lock::Timeout=300 {package} >/dev/null"
        if kind == "apt"
        else f"dnf -q -y install {package}"
    )
    return f"say 'installing {package}'\n{install}\nsystemctl enable --now --quiet docker.service"
