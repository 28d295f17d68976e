"""The files of ours that a managed driver has on a host, but for those whose text the host makes.

The pin and the repository's key are written by the host's own script: it alone knows which version
the repository has.
"""

import hashlib

from ollama_fleet.render import MARKER, HostFile

# Its presence says that we manage the driver of this host.
BLACKLIST = "/etc/modprobe.d/ollama-fleet-nvidia.conf"
MODULES = "/etc/modules-load.d/ollama-fleet-nvidia.conf"
UNATTENDED = "/etc/apt/apt.conf.d/52ollama-fleet-nvidia"
PREFERENCES = "/etc/apt/preferences.d/00-ollama-fleet-nvidia"
APT_SOURCE = "/etc/apt/sources.list.d/ollama-fleet-nvidia.sources"
APT_KEY = "/etc/apt/keyrings/ollama-fleet-nvidia.asc"
DNF_SOURCE = "/etc/yum.repos.d/ollama-fleet-nvidia.repo"
DNF_KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-ollama-fleet-nvidia"
PERSISTENCE = "/etc/systemd/system/nvidia-persistenced.service.d/10-ollama-fleet.conf"
LOCKS = "/etc/dnf/plugins/versionlock.list"
DNF_ID = "ollama-fleet-nvidia"

OUR_FILES = (BLACKLIST, MODULES, UNATTENDED, PREFERENCES, APT_SOURCE, DNF_SOURCE, PERSISTENCE)

_BLACKLIST = f"""# {MARKER}: nouveau takes GPUs before NVIDIA's module can.
blacklist nouveau
options nouveau modeset=0
"""
_MODULES = f"""# {MARKER}: no slice may start before CUDA's memory module is there.
nvidia
nvidia-uvm
"""
# A patch of the user space under a loaded module ends every CUDA program on the host.
_UNATTENDED = f"""// {MARKER}: the driver changes only when a deploy says so.
Unattended-Upgrade::Package-Blacklist {{
    "nvidia-";
    "libnvidia-";
    "linux-modules-nvidia-";
    "firmware-nvidia-";
    "libcuda1";
    "libnvsdm";
    "cuda-drivers";
}};
"""


def settings(packager: str) -> list[HostFile]:
    """Files that every managed driver has, whatever its version."""
    files = [HostFile(BLACKLIST, _BLACKLIST), HostFile(MODULES, _MODULES)]
    if packager == "apt":
        files.append(HostFile(UNATTENDED, _UNATTENDED))
    return files


def source(packager: str, url: str) -> HostFile:
    """NVIDIA's repository at `url`, trusted for nothing but its own key."""
    if packager == "apt":
        return HostFile(
            APT_SOURCE,
            f"# {MARKER}\nTypes: deb\nURIs: {url}/\nSuites: /\nSigned-By: {APT_KEY}\n",
        )
    return HostFile(
        DNF_SOURCE,
        f"# {MARKER}\n[{DNF_ID}]\nname=NVIDIA driver repository\nbaseurl={url}\nenabled=1\n"
        f"gpgcheck=1\ngpgkey=file://{DNF_KEY}\n",
    )


def key_path(packager: str) -> str:
    """Where the repository's key lies."""
    return APT_KEY if packager == "apt" else DNF_KEY


def digest(file: HostFile) -> str:
    """As sha256sum tells it."""
    return hashlib.sha256(file.text.encode()).hexdigest()
