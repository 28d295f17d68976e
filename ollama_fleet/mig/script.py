"""The steps of a change script that cuts and sets GPUs, and puts them back when that fails. Pure text."""

import shlex

from ollama_fleet.draining import drain, resume, unmark
from ollama_fleet.mig.decision import Change
from ollama_fleet.mig.layout import GPUS_SCRIPT, LAYOUT_FILE
from ollama_fleet.mig.parted import PARTED_FILE

# The host's own script does the work, the same that runs at boot. What it is told to bring back is
# what was found, with the slices that the old layout knew.
_RUN = """
code=0
{script} || code=$?
if [ "$code" -eq {pending} ] && [ -z '{units}' ]; then
    # Nothing of ours is there to be served meanwhile, so the change may wait.
    for file in {files}; do
        rm -f "$file.previous"
    done
    say "the MIG mode waits for a reboot, or for what is said above"
    exit 0
elif [ "$code" -ne 0 ]; then
    echo "the GPUs did not become what was asked for; see above" >&2
    {restore}
    for file in {files}; do
        if [ -e "$file.previous" ]; then
            mv -f "$file.previous" "$file"
        else
            rm -f "$file"
        fi
    done
    {resume}
    fail "the change of the GPUs was taken back"
fi
for file in {files}; do
    rm -f "$file.previous"
done
"""
# NVIDIA's own services that only watch GPUs, and so keep instances from being destroyed. They stop in this
# order. A change of the driver stops these, too (templates/driver/running.sh).
WATCHERS = (
    # Ours ask it every few seconds.
    *("ollama-metrics", "ollama-dcgm-exporter"),
    *("nvidia-dcgm-exporter", "dcgm-exporter", "nvidia-dcgm", "dcgm", "nvsm", "nvsm-core"),
)
# Those that wait for their start; a run that was killed leaves it to the next one.
STOPPED = "/run/ollama-fleet/watchers-stopped"
_STOP_WATCHERS = """
start_watchers() {{
    for unit in $(cat {stopped} 2>/dev/null); do
        systemctl start "$unit" 2>/dev/null || say "$unit does not start again; see journalctl --unit $unit"
    done
    rm -f {stopped}
}}
# However this ends.
trap start_watchers EXIT
for unit in {watchers}; do
    systemctl is-active --quiet "$unit" || continue
    say "stopping $unit while the GPUs are cut"
    echo "$unit" >>{stopped}
    systemctl stop "$unit" || :
done
"""
# The script's exit code when the only thing that it could not do is to make a mode take effect.
PENDING_CODE = 3
_FILES = f"{LAYOUT_FILE} {PARTED_FILE}"
_RESTORE = """{{
        printf '%s\\n' {lines}
        grep -s -e '^slice ' -e '^set ' {layout}.previous || :
    }} >{layout}
    if {script}; then
        say "they are as they were before"
    else
        echo "they could not be put back either; the slices on them may not start" >&2
    fi"""


def keep_previous() -> str:
    """A step before the new layout is written: the old one is kept until all is done."""
    return f"""for file in {_FILES}; do
    rm -f "$file.previous"
    [ ! -e "$file" ] || cp -p "$file" "$file.previous"
done"""


def change_steps(change: Change, drain_timeout_s: int, notice_s: int = 0) -> list[str]:
    """Steps after the new files are written: drain, change, read back; or back to what it was. While
    GPUs are cut nothing of NVIDIA's watches them. `notice_s`: see `drain`; they stay out."""
    units = [item.unit for item in change.drain]
    ports = [item.port for item in change.drain if item.port]
    restore = _RESTORE.format(
        lines=" ".join(map(shlex.quote, change.before)), layout=LAYOUT_FILE, script=GPUS_SCRIPT
    )
    back = unmark([_slice_of(unit) for unit in units], notice_s) if notice_s else ""
    run = _RUN.format(
        script=GPUS_SCRIPT,
        files=_FILES,
        pending=PENDING_CODE,
        units=" ".join(units),
        restore=restore if change.before else ":",
        resume=f"{resume(units)}{back}" or ":",
    )
    watchers = _STOP_WATCHERS.format(stopped=STOPPED, watchers=" ".join(WATCHERS))
    return [
        *(f"say {shlex.quote(line)}" for line in change.why),
        drain(units, ports, drain_timeout_s, notice_s),
        *([watchers] if change.before else []),
        run,
    ]


def _slice_of(unit: str) -> str:
    return unit.removeprefix("ollama-").removesuffix(".service")
