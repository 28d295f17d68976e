"""What a host is asked about its driver, in POSIX sh. Pure text; `state` reads the answers.

Cheap on purpose: an unchanged run asks all of it. `apt-cache policy` takes half a second, so it is
asked only where a driver that we did not install has to be dealt with.
"""

import shlex

from ollama_fleet.driver.files import BLACKLIST, LOCKS, OUR_FILES, PREFERENCES
from ollama_fleet.hardware import HARDWARE_QUESTIONS
from ollama_fleet.planner.provision import DriverRequest

# Installed packages whose name says NVIDIA's driver; the container toolkit is another step's.
FAMILY = (
    *("nvidia-*", "libnvidia-*", "cuda-drivers*", "libnvsdm*", "nvlsm", "linux-modules-nvidia-*"),
    *("kmod-nvidia*", "akmod-nvidia*", "xorg-x11-drv-nvidia*", "xserver-xorg-video-nvidia*"),
    *("dnf-plugin-nvidia", "nvlink5*"),
)
STALE = (
    *("cuda*.list", "cuda*.sources", "cuda*.repo", "graphics-drivers*", "nvidia-docker.*"),
    *("libnvidia-container.*", "nvidia-container-runtime.*", "nvidia-cuda*.list"),
)
UNITS = ("nvidia-persistenced.service", "nvidia-fabricmanager.service")

_PATTERNS = " ".join(map(shlex.quote, FAMILY))

_PCI = """for function in /sys/bus/pci/devices/*; do
    read -r vendor <"$function/vendor" && [ "$vendor" = 0x10de ] || continue
    read -r device <"$function/device" && read -r class <"$function/class" || continue
    [ ! -e "$function/physfn" ] || continue
    case $(readlink "$function/driver") in */vfio-pci) continue ;; esac
    echo "${function##*/} $device $class"
done; true"""

# A directory that a removed kernel left behind is none of an installed one.
_KERNELS = """for place in /lib/modules/*; do
    kernel=${place##*/}
    [ "$kernel" = "$(uname -r)" ] || [ -e "/boot/vmlinuz-$kernel" ] || [ -e "$place/vmlinuz" ] ||
        [ -d "$place/kernel" ] || continue
    headers=no; [ ! -e "$place/build/." ] || headers=yes
    version=$(modinfo -k "$kernel" -F version nvidia 2>/dev/null ||
        modinfo -k "$kernel" -F version nvidia-current 2>/dev/null) || version=
    license=$(modinfo -k "$kernel" -F license nvidia 2>/dev/null) || license=
    echo "$kernel $headers ${version:--} ${license:--}"
done; true"""

# One line per package: status (dpkg's three letters, or ii), name, version.
_PACKAGES = f"""if ! grep -qE '^ID(_LIKE)?=.*(rhel|fedora)' /etc/os-release; then
    dpkg-query -W -f '${{db:Status-Abbrev}}|${{Package}}|${{Version}}\\n' {_PATTERNS} 2>/dev/null
elif command -v rpm >/dev/null; then
    rpm -qa --qf 'ii |%{{NAME}}|%{{VERSION}}-%{{RELEASE}}\\n' {_PATTERNS}
fi; true"""

_SOURCES = f"""[ ! -e {BLACKLIST} ] || exit 0
set -- $(dpkg-query -W -f '${{db:Status-Abbrev}}|${{Package}}\\n' 'nvidia-*dkms*' 'nvidia-kernel-*' \\
    'libnvidia-compute*' 'libnvidia-ml1' 'linux-modules-nvidia-*' 2>/dev/null | sed -n 's/^ii *|//p')
[ $# -eq 0 ] || apt-cache policy "$@"; true"""

_LIBRARY = """for folder in /usr/lib/*-linux-gnu /usr/lib64 /usr/lib; do
    [ ! -e "$folder/libnvidia-ml.so.1" ] || readlink -f "$folder/libnvidia-ml.so.1"
done; true"""

# mokutil says it best; without it the last byte of the firmware's variable does.
_SECURE_BOOT = """mokutil --sb-state 2>/dev/null && exit
for variable in /sys/firmware/efi/efivars/SecureBoot-*; do
    [ ! -e "$variable" ] || case $(od -An -tu1 "$variable" | tail -n 1) in
    *1) echo 'SecureBoot enabled' ;;
    *) echo 'SecureBoot disabled' ;;
    esac
done; true"""

QUESTIONS = {
    "driver.os": "cat /etc/os-release",
    "driver.machine": "uname -m",
    "driver.kernel": "uname -r",
    "driver.pci": _PCI,
    "driver.loaded": "cat /proc/driver/nvidia/version 2>/dev/null; true",
    "driver.modules": "[ ! -d /sys/module/nouveau ] || echo nouveau; true",
    "driver.kernels": _KERNELS,
    "driver.library": _LIBRARY,
    "driver.packages": _PACKAGES,
    "driver.runfile": "ls /usr/bin/nvidia-uninstall 2>/dev/null; true",
    "driver.secure_boot": _SECURE_BOOT,
    "driver.switches": "ls /proc/driver/nvidia-nvswitch/devices 2>/dev/null; "
    "grep -ls SW_MNG /sys/class/infiniband/*/device/vpd; true",
    "driver.units": f"systemctl show -p Id,LoadState,ActiveState,UnitFileState {' '.join(UNITS)}",
    "driver.persistence": "systemctl cat nvidia-persistenced.service 2>/dev/null "
    "| grep '^ExecStart='; true",
    "driver.files": f"sha256sum {' '.join(OUR_FILES)} 2>/dev/null; true",
    "driver.pinned": "sed -nE 's/^Pin: version ([0-9.]+)-.*/\\1/p; s/^kmod-nvidia[^:]*:([0-9.]+)-.*/\\1/p' "
    f"{PREFERENCES} {LOCKS} 2>/dev/null; true",
    # Settings that are newer than an initramfs are not in it.
    "driver.initramfs": f"for image in /boot/initrd.img-* /boot/initramfs-*.img; do "
    f'[ ! -e "$image" ] || [ ! {BLACKLIST} -nt "$image" ] || echo "$image"; done; true',
    "driver.stale": "cd /etc/apt/sources.list.d 2>/dev/null || cd /etc/yum.repos.d 2>/dev/null "
    f"&& ls -d {' '.join(STALE)} 2>/dev/null; true",
    "driver.dgx": "[ -e /etc/dgx-release ]",
    "driver.slices": "systemctl list-units --plain --no-legend --state=active,activating "
    "'ollama-*.service' | sed -n 's/^\\(ollama-[^ ]*\\).*/\\1/p' "
    "| grep -vxE 'ollama-(devices|loader).service'; true",
    "driver.images": "dpkg-query -W -f '${db:Status-Abbrev}|${Package}\\n' 'linux-image-*' "
    "2>/dev/null | sed -n 's/^ii *|//p'; true",
    "driver.free": "df -Pm /boot / /var 2>/dev/null; true",
}


def questions(request: DriverRequest) -> dict[str, str]:
    """What to ask a host of which this driver is wanted."""
    told = request.branch or request.version or request.replace or request.flavour != "auto"
    only_idle = "" if told else "[ ! -e /proc/driver/nvidia/version ] || exit 0\n"
    return {**HARDWARE_QUESTIONS, **QUESTIONS, "driver.sources": only_idle + _SOURCES}
