"""The CDI specification that tells container runtimes which nodes and files a GPU needs: shell.

From 1.18 on the toolkit brings nvidia-cdi-refresh.service, which writes it at boot and after a driver
was installed, but not when MIG instances change: whoever changes those runs `refresh_step`. For an
older toolkit we install a boot unit of our own.
"""

from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile

REFRESH_UNIT = "nvidia-cdi-refresh.service"
# Not named ollama-*: those are slices, and what is not planned among them is removed.
OWN_UNIT = "fleet-cdi.service"
SPEC = "/etc/cdi/nvidia.yaml"
REFRESHED_SPEC = "/var/run/cdi/nvidia.yaml"
ENV_FILE = "/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env"
ENV_NAME = "NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS"
# Makes a specification of version 0.6 or older, which older runtimes can read.
OLD_RUNTIME_FLAG = "no-additional-gids-for-device-nodes"
FLAG_SINCE = (1, 19, 1)
# The first of each that reads the default specification (0.7.0).
READS_NEWEST = {"podman": (5, 1), "docker": (26, 1), "containerd": (1, 7, 16)}

_UNIT = f"""# {MARKER}
[Unit]
Description=CDI specification of the GPUs, as they are at this boot
After=ollama-devices.service nvidia-persistenced.service
Before=docker.service
ConditionPathExists=/proc/driver/nvidia/version

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/nvidia-ctk cdi generate --output={SPEC}

[Install]
WantedBy=multi-user.target
"""

_REFRESH = f"""
if ! command -v nvidia-ctk >/dev/null 2>&1; then
    :
elif systemctl cat {REFRESH_UNIT} >/dev/null 2>&1; then
    systemctl reset-failed {REFRESH_UNIT} 2>/dev/null || :
    systemctl restart {REFRESH_UNIT} || echo '{REFRESH_UNIT} failed; see its journal' >&2
elif [ -e {UNIT_DIR}/{OWN_UNIT} ]; then
    systemctl reset-failed {OWN_UNIT} 2>/dev/null || :
    systemctl restart {OWN_UNIT} || echo '{OWN_UNIT} failed; see its journal' >&2
elif [ -e {SPEC} ]; then
    nvidia-ctk cdi generate --output={SPEC} || echo 'cannot write {SPEC}' >&2
fi
"""


def refresh_step() -> str:
    """Shell that writes the specification anew after the driver or MIG instances changed; nothing
    where there is no toolkit. It never fails: a slice does not need the specification."""
    return _REFRESH


def own_unit() -> HostFile:
    """The boot unit for a toolkit that brings none."""
    return HostFile(f"{UNIT_DIR}/{OWN_UNIT}", _UNIT)


def enable_step() -> str:
    """Shell that has our boot unit run at each boot."""
    return f"systemctl daemon-reload\nsystemctl enable --quiet {OWN_UNIT}"


def retire_step() -> str:
    """Shell that removes our boot unit where the toolkit's own has taken over."""
    return (
        f"systemctl disable --quiet --now {OWN_UNIT}\nrm -f {UNIT_DIR}/{OWN_UNIT}\n"
        "systemctl daemon-reload"
    )


def aside_step() -> str:
    """Shell that takes a specification out of use that nobody refreshes any more."""
    return f"say 'putting aside {SPEC}: nobody refreshes it'\nmv -f {SPEC} {SPEC}.before-fleet"


def needs_old_specification(runtimes: dict[str, tuple[int, ...]]) -> bool:
    """Whether one of the runtimes (name to version) cannot read the newest specification."""
    return any(
        version < READS_NEWEST[name]
        for name, version in runtimes.items()
        if version and name in READS_NEWEST
    )


def with_flag(flags: str | None) -> str | None:
    """Value of ENV_NAME with the flag added to what is there; None when it is there."""
    known = [flag for flag in (flags or "").split(",") if flag]
    return None if OLD_RUNTIME_FLAG in known else ",".join([*known, OLD_RUNTIME_FLAG])


def flag_step(value: str) -> str:
    """Shell that sets ENV_NAME to `value`; the rest of the file stays."""
    return (
        f"mkdir -p {ENV_FILE.rpartition('/')[0]} && touch {ENV_FILE}\n"
        f"sed -i '/^{ENV_NAME}=/d' {ENV_FILE} && echo '{ENV_NAME}={value}' >>{ENV_FILE}"
    )
