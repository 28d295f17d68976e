"""What runs on a machine while it is looked at: one shell program that prints a frame whenever it is told.

It reads words from its standard input, `quick` or `full`, and prints a frame for each; it ends with its
input, so with the connection, and by itself when nobody has asked for QUIET_S. A frame is one write. Its
parts come after lines of \\001 and their name. What is dear or changes slowly is only in full ones. It writes
nothing on the machine, and keeps no device open between frames: neither a reset nor a driver's change
waits for it.
"""

import shlex
from collections.abc import Sequence

from ollama_fleet.checks.gpu_values import asked as health_questions
from ollama_fleet.draining import DRAINED_DIR, MARKS_DIR
from ollama_fleet.gateway import places
from ollama_fleet.hardware.found import HARDWARE_QUESTIONS
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.watching.places import HEALTH_DIR, WATCHDOG_STATE

QUIET_S = 60
QUICK, FULL = "quick", "full"
END = "end of frame"
# One unknown field fails the whole query: then the rest of them.
GPU_FIELDS = (
    *("index", "uuid", "name", "pci.bus_id", "memory.total", "memory.used", "temperature.gpu"),
    *("utilization.gpu", "power.draw", "power.limit", "mig.mode.current"),
    "ecc.errors.uncorrected.volatile.total",
)
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")

# Of the access log: what one frame brings at most, and what the first one looks back.
MOST_LOG, FIRST_LOG = 524_288, 262_144
_LOG = f"{places.LOG_DIR}/access.log"

# Left to itself awk prints large sums with six digits.
_SYSTEM = """cat /proc/stat /proc/meminfo /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '
    $1 == "cpu" { printf "cpu %.0f %.0f\\n", $2 + $3 + $4 + $7 + $8 + $9, $5 + $6 }
    /^cpu[0-9]/ { cpus++ }
    $1 == "MemTotal:" { print "memory", $2 }
    $1 == "MemAvailable:" { print "available", $2 }
    $1 ~ /^[0-9]+:$/ && ($4 == "01" || $4 == "0A") {
        n = split($2, end, ":")
        if ($4 == "0A") listens[end[n]] = 1
        else open[end[n]]++
    }
    END {
        print "cpus", cpus
        for (port in listens) print "port", port, open[port] + 0
    }'
read -r load _ </proc/loadavg && echo "load $load\""""

_GPUS = f"""smi() {{
    timeout -k 1 15 nvidia-smi --query-gpu="$1" --format=csv,noheader,nounits 2>&1
    echo "code $?"
}}
fields={",".join(GPU_FIELDS)}
reasons={REASONS[0]}
gpus() {{
    rows=$(smi "$fields,$reasons")
    case $rows in
    *'not a valid field'*)
        [ "$reasons" = {REASONS[1]} ] && reasons=index || reasons={REASONS[1]}
        rows=$(smi "$fields,$reasons")
        ;;
    esac
}}"""

# Marks of all kinds: each line of each file behind its name, and its name alone before them.
_MARKS = f"""for file in {MARKS_DIR}/* {DRAINED_DIR}/* {WATCHDOG_STATE}/*.quarantined \\
    {HEALTH_DIR}/*.down {HEALTH_DIR}/*.gone; do
    [ -f "$file" ] || continue
    echo "$file:"
    while read -r line; do echo "$file:$line"; done <"$file"
done"""

_BALANCER = f"""echo 'show stat' | timeout 5 socat - UNIX-CONNECT:{places.ADMIN_SOCKET} 2>/dev/null |
    awk -F, '
    $1 == "slices" && $2 != "BACKEND" {{ print "slice", $2, $18 }}
    $1 ~ /^model\\./ && $2 == "BACKEND" {{ waiting[$1] = $3 + 0 }}
    $1 ~ /^model\\./ && $2 != "BACKEND" {{ running[$1] += $5 }}
    END {{ for (pool in waiting) print "pool", pool, waiting[pool], running[pool] + 0 }}'"""

# What was written since the last frame; after a rotation, all of the new file.
_LOG_LINES = f"""log_lines() {{
    file=$(stat -c '%i %s' {_LOG} 2>/dev/null) || return 0
    inode=${{file% *}} size=${{file#* }}
    if [ -z "$seen" ]; then
        from=$((size > {FIRST_LOG} ? size - {FIRST_LOG} : 0))
        [ "$from" -eq 0 ] || skipped=skipped
    elif [ "$inode" = "$seen_inode" ] && [ "$size" -ge "$seen" ]; then
        from=$seen
    else
        from=0
    fi
    [ $((size - from)) -le {MOST_LOG} ] || from=$((size - {MOST_LOG})) skipped=skipped
    seen=$size seen_inode=$inode
    [ "$size" -eq "$from" ] || lines=$(tail -c +$((from + 1)) {_LOG} | head -c $((size - from)))
}}
seen='' seen_inode=''"""


def program(plan: HostPlan | None, gateway: GatewayPlan | None) -> str:
    """The program for one machine, whatever it is."""
    names, functions = ["system"], [_function("system", _SYSTEM)]
    full = {"disk": _disks(plan)}
    if plan and (plan.slices or plan.expected_gpus):
        functions.append(_GPUS)
        full |= {"xids": health_questions(plan)["health.xids"], "pci": HARDWARE_QUESTIONS["pci"]}
    if plan and plan.slices:
        names += ["units", "models", "marks"]
        functions += [
            _function("units", _units([item.unit for item in plan.slices])),
            _function("models", _models(plan)),
            _function("marks", _MARKS),
        ]
    if gateway:
        names.append("balancer")
        functions += [_function("balancer", _BALANCER), _LOG_LINES]
    functions += [_function(name, text) for name, text in full.items()]
    return "\n".join([_START, *functions, _loop(names, list(full), gateway is not None)])


_START = "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _loop(names: Sequence[str], full: Sequence[str], has_log: bool) -> str:
    """Parts are caught in variables, so that all of a frame is one write and `times` counts all of it."""
    quick = "\n    ".join(f"{name}=$({name} </dev/null 2>&1)" for name in names)
    more = "\n        ".join(f"{name}=$({name} </dev/null 2>&1)" for name in full)
    gpus = "gpus </dev/null" if "xids" in full else ":"
    log = "log_lines" if has_log else ":"
    shown = [*names, *full, "rows", "lines", "skipped"]
    values = " ".join(f'{name} "${name}"' for name in shown)
    empty = " ".join(f"{name}=" for name in shown)
    return f"""while asked=$(timeout {QUIET_S} head -n 1) && [ -n "$asked" ]; do
    {empty}
    now=$(date +%s)
    {quick}
    {gpus}
    {log}
    if [ "$asked" = {FULL} ]; then
        {more}
    fi
    printf '\\001%s\\n%s\\n' kind "$asked" now "$now" {values} columns "$fields,$reasons" || break
    printf '\\001times\\n'
    times
    printf '\\001{END}\\n'
done 2>/dev/null"""


def _function(name: str, body: str) -> str:
    return f"{name}() {{\n{body}\n}}"


def _disks(plan: HostPlan | None) -> str:
    """The root's, and the model store's; what is not there yet is not asked."""
    paths = ["/", *([plan.store.path] if plan else [])]
    return f"df -Pk {' '.join(map(shlex.quote, paths))} 2>/dev/null"


def _units(units: Sequence[str]) -> str:
    return f"systemctl show -p Id,ActiveState,SubState,NRestarts {' '.join(units)}"


def _models(plan: HostPlan) -> str:
    """All slices by one curl; one that hangs costs the frame two seconds."""
    urls = " ".join(f"{item.url}/api/ps" for item in plan.slices)
    marker = "-w '\\n#%{url_effective}\\n'"
    return f"curl --noproxy '*' -s --max-time 2 {marker} {urls} 2>/dev/null"
