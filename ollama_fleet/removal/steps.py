"""The steps of the script that takes everything of ours off a host: stopped first, the manifest last.

What cannot be removed is told, and the rest goes all the same; the manifest stays then, so that the
next run goes on. Each step does nothing where its work is done. Pure text.
"""

import shlex
from collections.abc import Iterable

from ollama_fleet.draining import drain
from ollama_fleet.firewall.change import DROP_TABLE
from ollama_fleet.gateway.places import ACME_HOOK, ACME_NAME, ACME_RENEWAL, SYSUSERS
from ollama_fleet.gateway.places import USER as GATEWAY_USER
from ollama_fleet.metrics.places import SYSUSERS as METRICS_SYSUSERS
from ollama_fleet.metrics.places import USER as METRICS_USER
from ollama_fleet.monitor import places as monitor
from ollama_fleet.planner.plan import HOME_DIR, USER, Removal
from ollama_fleet.removal import places
from ollama_fleet.removal.found import Found
from ollama_fleet.templating import MARKER

_FUNCTIONS = """
trouble=
built_file=/run/ollama-fleet/built
problem() { echo "cannot remove $*" >&2; trouble=yes; }
gone() { # gone PATH...: it goes, or what it had replaced is there again
    for path; do
        if [ -e "$path.before-fleet" ] || [ -L "$path.before-fleet" ]; then
            say "putting back $path"
            mv -fT "$path.before-fleet" "$path" || problem "$path"
        else
            rm -f "$path" || problem "$path"
        fi
    done
}
put_back() { # put_back PATH...: originals whose place is free; nothing of somebody's is written over
    for path; do
        [ -e "$path.before-fleet" ] || continue
        if [ -e "$path" ]; then
            say "$path is there again; left: $path.before-fleet"
        else
            say "putting back $path"
            mv -fT "$path.before-fleet" "$path" || problem "$path.before-fleet"
        fi
    done
}
release() { # release PREFIX: what was unpacked there. What came later stays: after the last switch to it,
    # or a day after its program was built (the switch may have been long after that came)
    built=$(stat -c %Y "$1/bin/ollama" 2>/dev/null || echo 0)
    touch -d "@$((built + 86400))" $built_file
    find "$1" -mindepth 1 ! -type d ! -path "$1/.sha256" ! -path "$1/bin/ollama" \\
        ! '(' -newer $built_file -o -newer "$1/.sha256" -cnewer "$1/.sha256" ')' -delete || problem "$1"
    [ -n "$trouble" ] || rm -f "$1/bin/ollama" "$1/.sha256" || problem "$1"
    find "$1" -mindepth 1 -depth -type d -empty -delete || problem "$1"
    rmdir --ignore-fail-on-non-empty "$1" || problem "$1"
}
empty() { # empty FOLDER...: it goes if nothing is in it
    for folder; do
        [ ! -d "$folder" ] || [ -L "$folder" ] || mountpoint -q "$folder" 2>/dev/null ||
            rmdir --ignore-fail-on-non-empty "$folder" || problem "$folder"
    done
}
"""
_OURS = f"""
ours=false
! grep -q '^{USER}:[^:]*:[^:]*:[^:]*:[^:]*:{HOME_DIR}:' /etc/passwd || ours=true
"""
_STOP = f"""
systemctl stop '{places.FETCHING}' 2>/dev/null || :
drain_slices || say 'stopping them all the same'
for unit in $units; do
    systemctl disable --now --quiet "$unit" 2>/dev/null || systemctl stop "$unit" 2>/dev/null || :
    ! systemctl is-active --quiet "$unit" || problem "$unit: it does not stop"
done
"""
_FORGET = f"""
for link in {places.UNIT_DIR}/*.wants/ollama* {places.UNIT_DIR}/*.requires/ollama*; do
    [ ! -L "$link" ] || [ -e "$link" ] || gone "$link"
done
for unit in $units; do
    rm -f "/var/lib/systemd/timers/stamp-$unit"
done
systemctl daemon-reload || problem 'our units from memory of systemd'
[ -z "$units" ] || systemctl reset-failed $units 2>/dev/null || :
"""
# What else lies beside our folders in the store is not ours.
_REMOVE_STORE = f"""
if [ -L "$store" ]; then
    problem "$store: it is a link to $(readlink "$store"); empty that, and remove the link"
elif [ -d "$store" ]; then
    say 'removing the models'
    for folder in "$store/blobs" "$store/quarantine"; do
        [ ! -d "$folder" ] || find "$folder" -mindepth 1 -maxdepth 1 -name 'sha256-*' -delete ||
            problem "$folder"
    done
    rm -rf "$store/manifests" "$store/fetch" "$store/custom" || problem "$store"
    empty "$store/blobs" "$store/quarantine" "$store"
fi
rm -f {places.STORE_NOTE} || problem {places.STORE_NOTE}
"""
# The number that the next account gets must not own it. The next deploy gives it to its user again.
_KEEP_STORE = f"""
if [ -d "$store" ] && [ ! -L "$store" ]; then
    if $ours; then
        chown --from={USER} root:root {places.STATE_DIR} || :
        chown -hR --from={USER} root:root "$store" || say 'some models keep the number of the user that goes'
    fi
    rm -f {places.STORE_NOTE}
    printf '%s\\n' '# {MARKER}: a removal has left the models. A deploy uses them again.' "store $store" \\
        >{places.STORE_NOTE} || say 'no room for a note beside the models'
else
    rm -f {places.STORE_NOTE} || problem {places.STORE_NOTE}
fi
"""
_ACCOUNT = f"""
if $ours; then
    userdel {USER} >/dev/null ||
        problem "the user {USER}: it still has $(ps -o comm= -u {USER} 2>/dev/null | xargs)"
fi
members=$(sed -n 's/^{USER}:[^:]*:[^:]*://p' /etc/group)
if grep -q '^{USER}:' /etc/passwd; then
    say 'the user {USER} has another home, and is not ours: left'
elif [ -n "$members" ]; then
    say "the group {USER} has other members ($members): left"
elif grep -q '^{USER}:' /etc/group; then
    groupdel {USER} || say 'the group {USER}: left'
fi
"""
# What runs as it has stopped by now.
_GATEWAY_ACCOUNT = f"""
! grep -q '^{GATEWAY_USER}:[^:]*:[^:]*:[^:]*:Gateway to Ollama slices:' /etc/passwd ||
    userdel {GATEWAY_USER} >/dev/null || problem "the user {GATEWAY_USER}"
"""
_MONITOR_ACCOUNT = f"""
! grep -q '^{monitor.USER}:[^:]*:[^:]*:[^:]*:Monitor of Ollama slices:' /etc/passwd ||
    userdel {monitor.USER} >/dev/null || problem "the user {monitor.USER}"
"""
_METRICS_ACCOUNT = f"""
! grep -q '^{METRICS_USER}:[^:]*:[^:]*:[^:]*:Metrics of Ollama slices:' /etc/passwd ||
    userdel {METRICS_USER} >/dev/null || problem "the user {METRICS_USER}"
"""
_ACME = f"""
[ ! -f {ACME_RENEWAL} ] || certbot delete --non-interactive --quiet --cert-name {ACME_NAME} ||
    problem "the certificate {ACME_NAME} of certbot"
"""
_END = f"""
[ -z "$trouble" ] || fail 'the rest is gone; mend what is said above, then run again'
rm -f {places.MANIFEST} || fail 'cannot remove {places.MANIFEST}; run again'
empty {places.STATE_DIR}
[ -n "$kept" ] || [ -z "$store" ] || set -- "$store"
left=$(find {" ".join(places.OURS_ALONE)} {places.UNIT_DIR}/ollama*.d "$@" -mindepth 1 ! -type d \\
    ! -path "${{kept:-none}}/*" ! -path {places.STORE_NOTE} 2>/dev/null | sort -u |
    head -n 20 | xargs -d '\\n')
[ -z "$left" ] || say "left, for it is not ours: $left"
rm -rf {" ".join(places.RUN_STATE)}
say "nothing of ours is left here${{kept:+ but its models}}"
"""


def removal_steps(found: Found, removal: Removal, drain_timeout_s: int) -> list[str]:
    """Steps that take everything of `found` away; slices end their requests first."""
    ports = dict(found.ports)
    files = [path.removesuffix(".before-fleet") for path in found.originals]
    of_store = _REMOVE_STORE if removal.models else _KEEP_STORE
    waiting = drain(found.slices, [ports[unit] for unit in found.slices], drain_timeout_s)
    kept = "" if removal.models else found.store or ""
    late = [path for path in found.files if path in places.ACCOUNT_FILES]
    return [
        _FUNCTIONS,
        f"units={shlex.quote(' '.join(found.units))}",
        f"store={shlex.quote(found.store or '')} kept={shlex.quote(kept)}",
        f"drain_slices() {{\n:\n{waiting}\n}}",
        _STOP,
        *([DROP_TABLE] if found.has_firewall else []),
        *_call("gone", [path for path in found.files if path not in late]),
        _FORGET,
        *([_ACME] if ACME_HOOK in found.files else []),
        *(f"release {shlex.quote(path)}" for path in found.releases),
        *_call("put_back", [path for path in files if path not in found.files]),
        *(f"rm -rf {path} || problem {path}" for path in map(shlex.quote, found.folders)),
        f"empty {' '.join(places.FOLDERS)}",
        *([_OURS, of_store, _ACCOUNT] if found.is_settled else []),
        *([_GATEWAY_ACCOUNT] if SYSUSERS in found.files else []),
        *([_MONITOR_ACCOUNT] if monitor.SYSUSERS in found.files else []),
        *([_METRICS_ACCOUNT] if METRICS_SYSUSERS in found.files else []),
        *_call("gone", late),
        _END,
    ]


def _call(function: str, paths: Iterable[str]) -> list[str]:
    words = " ".join(map(shlex.quote, paths))
    return [f"{function} {words}"] if words else []
