"""Taking slices out of service and back, as shell: announced, waited for, stopped, started again.

Pure text for the steps of a change script (it uses `say` and `fail` of its prelude); knows no pyinfra.
What is announced and not done when a run is cut off is done by the next one (`host.units`).
"""

import shlex
from collections.abc import Sequence

# Units that a run has stopped, or is about to; on /run, because a reboot starts them all.
PENDING_DIR = "/run/ollama-fleet/restart"
# A file named after a slice keeps gateways from it: by a deploy until the next boot, by an operator for good.
MARKS_DIR = "/run/ollama-drained"
DRAINED_DIR = "/var/lib/ollama/drained"

_MARK = """
    mkdir -p {marks}
    for unit in $draining; do unit=${{unit#ollama-}}; : >{marks}/"${{unit%.service}}"; done
    sleep {notice_s}"""

# Connections are counted in /proc: a minimal host has no `ss`. State 01 is ESTABLISHED, and only the
# server's end has its port as the local one.
_DRAIN = """
draining=
for unit in {units}; do
    # Early after a boot its start is only a job that waits, and comes as soon as the GPUs are there.
    case $(systemctl show -p ActiveState --value "$unit"; systemctl list-jobs --plain --no-legend "$unit") in
    active* | activating* | reloading* | deactivating* | *start*) draining="$draining $unit" ;;
    esac
done
if [ -n "$draining" ]; then
    mkdir -p {pending} && (cd {pending} && touch $draining){mark}
    # Loading models ahead is no request: it is not waited for.
    for unit in $draining; do systemctl stop "ollama-warm-${{unit#ollama-}}" 2>/dev/null || :; done
    open_requests() {{
        cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v ports=' {ports} ' '
            {{ n = split($2, end, ":") }}
            $4 == "01" && index(ports, " " end[n] " ") {{ count++ }}
            END {{ print count + 0 }}'
    }}
    waited=0
    while busy=$(open_requests) && [ "$busy" -gt 0 ] && [ "$waited" -lt {timeout_s} ]; do
        [ $((waited % 10)) -ne 0 ] || say "draining$draining: $busy open connections"
        sleep 1
        waited=$((waited + 1))
    done
    [ "$busy" -eq 0 ] || say "$busy connections are still open after {timeout_s} s; they are cut now"
    say "stopping$draining"
    systemctl stop $draining
fi
"""

_UNMARK = """
for mark in {marks}; do
    [ ! -e "$mark" ] || marked=yes
done
rm -f {marks}
[ -z "${{marked:-}}" ] || sleep {notice_s}
marked=
"""

_RESUME = """
resuming=
for unit in {units}; do
    [ ! -e {pending}/"$unit" ] || resuming="$resuming $unit"
done
if [ -n "$resuming" ]; then
    say "starting$resuming"
    systemctl reset-failed $resuming 2>/dev/null || :
    if ! systemctl start $resuming 2>/dev/null; then
        for unit in $resuming; do
            ! systemctl is-active --quiet "$unit" || continue
            echo "$unit does not start; its last words:" >&2
            journalctl --unit "$unit" --lines 15 --no-pager --output cat >&2 || :
        done
        exit 1
    fi
    (cd {pending} && rm -f $resuming)
fi
"""


def drain(units: Sequence[str], ports: Sequence[int], timeout_s: int, notice_s: int = 0) -> str:
    """Stop those of `units` that run, once no TCP connection to `ports` is open or `timeout_s` is
    over. They stay announced until `resume`, or until a later run has started them. `notice_s`: gateways
    are kept from them first, until `unmark`, and have noticed after so long."""
    if not units:
        return ""
    return _DRAIN.format(
        units=" ".join(map(shlex.quote, units)),
        ports=" ".join(f"{port:04X}" for port in ports),
        pending=PENDING_DIR,
        timeout_s=timeout_s,
        mark=_MARK.format(marks=MARKS_DIR, notice_s=notice_s) if notice_s else "",
    )


def unmark(names: Sequence[str], notice_s: int) -> str:
    """Let gateways use these slices again, and wait until they do: who comes next may be the only other
    one of a model."""
    marks = " ".join(f"{MARKS_DIR}/{shlex.quote(name)}" for name in names)
    return _UNMARK.format(marks=marks, notice_s=notice_s) if names else ""


def resume(units: Sequence[str]) -> str:
    """Start those of `units` that were announced, and end the announcement. One that does not start
    fails the script, with the last lines of its journal; the announcement stays then."""
    if not units:
        return ""
    return _RESUME.format(units=" ".join(map(shlex.quote, units)), pending=PENDING_DIR)
