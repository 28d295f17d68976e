"""What a host is asked about its driver, in POSIX sh. Pure text; `state` reads the answers.

Cheap on purpose: an unchanged run asks all of it. `apt-cache policy` takes half a second, so it is
asked only where a driver that we did not install has to be dealt with.
"""

import shlex

from ollama_fleet.catalogue.distribution import words_of
from ollama_fleet.driver.files import (
    APT_SOURCE,
    BLACKLIST,
    DNF_SOURCE,
    KEPT,
    LOCKS,
    OUR_FILES,
    PREFERENCES,
)
from ollama_fleet.hardware.found import HARDWARE_QUESTIONS
from ollama_fleet.planner.provision import DriverRequest
from ollama_fleet.questions import Slow

# Installed packages whose name says NVIDIA's driver; the container toolkit is another step's.
FAMILY = (
    *("nvidia-*", "libnvidia-*", "cuda-drivers*", "libnvsdm*", "nvlsm", "linux-modules-nvidia-*"),
    *("kmod-nvidia*", "akmod-nvidia*", "xorg-x11-drv-nvidia*", "xserver-xorg-video-nvidia*"),
    *("dnf-plugin-nvidia", "nvlink5*"),
)
# What we install unasked; every GPU but the very newest works with it.
ENOUGH_BRANCH = 580
UNITS = ("nvidia-persistenced.service", "nvidia-fabricmanager.service")

_PATTERNS = " ".join(map(shlex.quote, FAMILY))

_PCI = """for function in /sys/bus/pci/devices/*; do
    read -r vendor <"$function/vendor" && [ "$vendor" = 0x10de ] || continue
    read -r device <"$function/device" && read -r class <"$function/class" || continue
    [ ! -e "$function/physfn" ] || continue
    [ ! "$function/driver" -ef /sys/bus/pci/drivers/vfio-pci ] || continue
    echo "${function##*/} $device $class"
done; true"""

# A directory that a removed kernel left behind is none of an installed one. modinfo unpacks the whole
# module, so it is called once for each.
_KERNELS = """running=$(uname -r)
info() { modinfo -k "$kernel" "$1" 2>/dev/null; }
value() { # value FIELD, of $found
    value=
    for line in $found; do
        case $line in "$1:"*) value=${line#"$1:"} && value=${value#"${value%%[! ]*}"} && break ;; esac
    done
}
IFS='
'
for place in /lib/modules/*; do
    kernel=${place##*/}
    case $kernel in "$running") ;; *+debug) continue ;; esac
    [ "$kernel" = "$running" ] || [ -e "/boot/vmlinuz-$kernel" ] || [ -e "$place/vmlinuz" ] ||
        [ -d "$place/kernel" ] || continue
    headers=no; [ ! -e "$place/build/." ] || headers=yes
    if found=$(info nvidia); then value license; else found=$(info nvidia-current); value=; fi
    license=$value
    value version
    version=$value
    echo "$kernel $headers ${version:--} ${license:--}"
done; true"""

# One line per package: status (dpkg's three letters, or ii), name, version. Kernels of apt hosts as well.
_PACKAGES = f"""if ! grep -qE '^ID(_LIKE)?=.*({"|".join(words_of("dnf"))})' /etc/os-release; then
    dpkg-query -W -f '${{db:Status-Abbrev}}|${{Package}}|${{Version}}\\n' {_PATTERNS} \\
        'linux-image-*' 2>/dev/null
elif command -v rpm >/dev/null; then
    rpm -qa --qf 'ii |%{{NAME}}|%{{VERSION}}-%{{RELEASE}}\\n' {_PATTERNS}
fi; true"""

_SOURCES = f"""[ ! -e {BLACKLIST} ] || exit 0
set -- $(dpkg-query -W -f '${{db:Status-Abbrev}}|${{Package}}\\n' 'nvidia-*dkms*' 'nvidia-kernel-*' \\
    'libnvidia-compute*' 'libnvidia-ml1' 'linux-modules-nvidia-*' 2>/dev/null | sed -n 's/^.i *|//p')
[ $# -eq 0 ] || apt-cache policy "$@"; true"""

# Lists of others that have NVIDIA's driver repository, or the PPA, by what stands in them: `whole` where that
# is all that they have, else `mixed`.
_STALE = f"""for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list \\
    /etc/apt/sources.list.d/*.sources /etc/yum.repos.d/*.repo; do
    case $file in {APT_SOURCE} | {DNF_SOURCE}) ;; *) [ ! -e "$file" ] || set -- "$@" "$file" ;; esac
done
[ $# -eq 0 ] || awk 'tolower($0) ~ /^[ \\t]*(deb |deb-src |uris:|baseurl *=|mirrorlist *=|metalink *=)/ {{
        all[FILENAME]++
        if ($0 ~ /\\/compute\\/cuda\\/repos\\/|\\/graphics-drivers\\//) theirs[FILENAME]++
    }}
    END {{
        for (file in theirs)
            print (theirs[file] == all[file] && file !~ /sources.list$/ ? "whole" : "mixed"), file
    }}' "$@" 2>/dev/null; true"""

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

# Prints something where there are NVSwitches or the bridges that stand for them.
SWITCHES = """for device in /proc/driver/nvidia-nvswitch/devices/*; do
    [ ! -e "$device" ] || echo "${device##*/}"
done
for file in /sys/class/infiniband/*/device/vpd; do
    [ ! -e "$file" ] || ! grep -qs SW_MNG "$file" || echo "$file"
done"""

# Most hosts that we did not install have no such unit; systemctl is dear.
_PERSISTENCE = """for folder in /etc /run /usr/local/lib /usr/lib /lib; do
    [ ! -e "$folder/systemd/system/nvidia-persistenced.service" ] || {
        systemctl cat nvidia-persistenced.service 2>/dev/null | grep '^ExecStart='
        exit 0
    }
done"""

QUESTIONS = {
    "driver.os": "cat /etc/os-release",
    "driver.machine": "uname -m",
    "driver.kernel": "uname -r",
    "driver.pci": _PCI,
    "driver.loaded": "cat /proc/driver/nvidia/version 2>/dev/null; true",
    "driver.modules": "[ ! -d /sys/module/nouveau ] || echo nouveau; true",
    "driver.kernels": Slow(_KERNELS),
    "driver.library": _LIBRARY,
    "driver.packages": _PACKAGES,
    "driver.runfile": "[ ! -e /usr/bin/nvidia-uninstall ] || echo /usr/bin/nvidia-uninstall",
    "driver.secure_boot": _SECURE_BOOT,
    "driver.switches": SWITCHES,
    "driver.units": f"systemctl show -p Id,LoadState,ActiveState,UnitFileState {' '.join(UNITS)}",
    "driver.persistence": _PERSISTENCE,
    "driver.files": f"sha256sum {' '.join(OUR_FILES)} 2>/dev/null; true",
    # dnf's locks as they are; and the version, last.
    "driver.pinned": r"sed -nE '/^[a-z].*-[0-9]+:[0-9]/p; s/^Pin: version ([0-9.]+)-.*/\1/p; "
    r"s/^kmod-nvidia[^:]*:([0-9.]+)-.*/\1/p' "
    f"{PREFERENCES} {LOCKS} 2>/dev/null; true",
    # Settings that are newer than an initramfs are not in it.
    # Only of a kernel's own: nothing ever writes a rescue system's or kdump's again.
    "driver.initramfs": f"""for place in /lib/modules/*; do
    for image in "/boot/initrd.img-${{place##*/}}" "/boot/initramfs-${{place##*/}}.img"; do
        [ ! -e "$image" ] || [ ! {BLACKLIST} -nt "$image" ] || echo "$image"
    done
done; true""",
    "driver.stale": _STALE,
    "driver.dgx": "[ -e /etc/dgx-release ]",
    "driver.kept": f"[ ! -e {KEPT} ] || echo {KEPT}",
    "driver.slices": "systemctl list-units --plain --no-legend --state=active,activating "
    "'ollama-*.service' | while read -r unit rest; do case $unit in "
    "ollama-devices.* | ollama-loader.* | ollama-scrub.* | ollama-selfcheck.* | "
    "ollama-fetch-* | ollama-warm-* | "
    "ollama-gateway.* | ollama-balancer.* | ollama-hop.* | ollama-health.* | ollama-firewall.* | "
    "ollama-watchdog.* | "
    "ollama-address.* | ollama-address-check.* | ollama-metrics.* | ollama-metrics-door.* | "
    "ollama-node-exporter.* | ollama-mtail.* | ollama-nginx-exporter.* | ollama-dcgm-exporter.* | "
    "ollama-certificates.* | ollama-prometheus.* | ollama-monitor-door.*) ;; "
    'ollama-*) echo "$unit" ;; esac; done',
    "driver.free": "df -Pm /boot / /var 2>/dev/null; true",
}


# A driver that is new enough for everything stays, wherever it came from.
_ENOUGH = f"""word=0
[ ! -e /proc/driver/nvidia/version ] || read -r line </proc/driver/nvidia/version
for word in $line; do case $word in [0-9]*.[0-9]*) break ;; esac; done
[ "${{word%%.*}}" -lt {ENOUGH_BRANCH} ] 2>/dev/null || [ ! -e /proc/driver/nvidia/version ] || exit 0
"""


def questions(request: DriverRequest) -> dict[str, str]:
    """What to ask a host of which this driver is wanted."""
    told = request.branch or request.version or request.replace or request.flavour != "auto"
    only_idle = "" if told else _ENOUGH
    return {**HARDWARE_QUESTIONS, **QUESTIONS, "driver.sources": only_idle + _SOURCES}
