"""The files of ours that a managed driver has on a host, but for those whose text the host makes.

The pin and the repository's key are written by the host's own script: it alone knows which version
the repository has.
"""

import hashlib
from collections.abc import Collection

from ollama_fleet.driver.flavour import NVLINK5_IDS
from ollama_fleet.templating import MARKER, HostFile

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
# What was there before an upgrade that a boot brings into use.
KEPT = "/var/lib/ollama-fleet/driver-before"
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
# Cards on which CUDA fails without it (platform notes of NVIDIA's GPU operator).
_NO_HMM = "options nvidia-uvm uvm_disable_hmm=1\n"
_NO_HMM_IDS = frozenset({0x2BB1, 0x2BB4, 0x2BB5})
# NVSwitches of the fifth NVLink are found through these.
BRIDGES = ("mlx5_ib", "ib_umad")
# A patch of the user space under a loaded module ends every CUDA program on the host.
_UNATTENDED = f"""// {MARKER}: the driver changes only when a deploy says so.
Unattended-Upgrade::Package-Blacklist {{
    "nvidia-";
    "libnvidia-";
    "firmware-nvidia-";
    "libcuda1";
    "libnvsdm";
    "cuda-drivers";
}};
"""


def settings(packager: str, gpu_ids: Collection[int] = ()) -> list[HostFile]:
    """Files that every managed driver has, whatever its version, on a host with GPUs of these ids."""
    no_hmm = _NO_HMM if _NO_HMM_IDS.intersection(gpu_ids) else ""
    bridges = "".join(f"{name}\n" for name in bridges_of(gpu_ids))
    files = [HostFile(BLACKLIST, _BLACKLIST + no_hmm), HostFile(MODULES, _MODULES + bridges)]
    if packager == "apt":
        files.append(HostFile(UNATTENDED, _UNATTENDED))
    return files


def bridges_of(gpu_ids: Collection[int]) -> tuple[str, ...]:
    """Modules without which the switches of these GPUs are not seen."""
    return BRIDGES if NVLINK5_IDS.intersection(gpu_ids) else ()


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
