"""Who changes a host: a run claims it with its first change, and has it for as long as it lives.

The claim is a file below /run. It names the run, and two processes: the one on the host that carries
the run's connection (sshd's, or the run itself where it is local), and the run's own on the machine
that it was started on. It holds while the first of them lives, unless the second is known to be dead.
Questions, shell and a pure judgement; knows no pyinfra.
"""

import shlex
from dataclasses import dataclass

from ollama_fleet.questions import Answers

# Only root can open it: whoever can open a file can lock it.
RUN_DIR = "/run/ollama-fleet"
OWNER = f"{RUN_DIR}/owner"
LOCK = f"{RUN_DIR}/lock"
# Names a slice and what is done to it, while the host's watchdog holds the lock for it.
REPAIRING = "/run/ollama-watchdog/acting"
# A script that a dead run has left at work may be pulling a model.
WAIT_S = 900

PROCESSES = """
look_at() { # look_at PID: sets $comm, $parent and $began of a process; fails where it has ended
    stat=
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    comm=${stat#*\\(}
    comm=${comm%)*}
    set -- ${stat##*) }
    [ $# -ge 20 ] && [ "$1" != Z ] || return 1
    parent=$2 began=${20}
}
lives() { # lives PID BEGAN: whether it is still that process
    [ $# -eq 2 ] && look_at "$1" && [ "$began" = "$2" ]
}
"""
# The last line is `alive` or `gone`; `busy` as well where a script of such a run has not ended yet.
CLAIM_QUESTION = {
    "claim": f"""[ -r {OWNER} ] || exit 0
{PROCESSES}
carrier=
while read -r key value; do
    echo "$key $value"
    [ "$key" != carrier ] || carrier=$value
done <{OWNER}
if lives $carrier; then
    echo alive
else
    echo gone
fi
set -- $(stat -c '%d %i' {LOCK} 2>/dev/null)
[ $# -eq 2 ] || exit 0
lock=$(printf '%02x:%02x:%d' $(($1 >> 8 & 4095)) $(($1 & 255 | $1 >> 12 & 1048320)) "$2")
while read -r lock_of; do
    case $lock_of in *" FLOCK "*" $lock "*) echo busy && break ;; esac
done </proc/locks"""
}
# Part of every script that changes a host, after the variables of `introduce`. Without them (or with
# an empty run) there is no claim, and the lock alone keeps two scripts apart.
TAKE_CLAIM = f"""
: "${{run:=}}" "${{run_who:=}}" "${{run_controller:=}}" "${{run_ended:=}}"
{PROCESSES}
read_owner() {{
    owner= owner_who= owner_since= owner_carrier=
    [ -r {OWNER} ] || return 0
    while read -r key value; do
        case $key in
        run) owner=$value ;;
        who) owner_who=$value ;;
        since) owner_since=$value ;;
        carrier) owner_carrier=$value ;;
        esac
    done <{OWNER}
}}
owned() {{ # whether another run has this host, and lives
    [ -n "$owner" ] && [ "$owner" != "$run" ] && [ "$owner" != "$run_ended" ] && lives $owner_carrier
}}
leave() {{
    fail "another deploy is changing this host right now: $owner_who, since $owner_since; wait until it \\
has ended, then run again (if it is dead: \\`kill ${{owner_carrier% *}}\\` on this host ends its \\
connection, and frees it)"
}}
carry() {{ # the process that carries this run's connection, and when it began: it ends with the run
    pid=$$
    while [ "$pid" -gt 1 ] && look_at "$pid"; do
        case $comm in
        sh | ash | dash | bash | rbash | zsh | ksh* | mksh | csh | tcsh | fish | busybox) ;;
        sudo | su | doas | runuser) ;;
        *) echo "$pid $began" && return ;;
        esac
        pid=$parent
    done
    echo "0 0"
}}
mkdir -p -m 700 {RUN_DIR}
exec 9>{LOCK}
read_owner
if ! flock -n 9; then
    repairing=
    {{ read -r repairing <{REPAIRING}; }} 2>/dev/null || :
    [ -n "$repairing" ] || {{ [ -n "$owner" ] && [ "$owner" != "$run" ]; }} ||
        fail "another deploy is changing this host right now; wait for it, then run again"
    ! owned || leave
    if [ -n "$repairing" ]; then
        who="the watchdog of this host ($repairing)"
        say "$who is at work; waiting for it"
    else
        who="what $owner_who had begun"
        say "$owner_who is dead, but what it had begun here still runs; waiting for it"
    fi
    flock -w {WAIT_S} 9 ||
        fail "$who still runs after {WAIT_S} s; wait for it, then run again"
    read_owner
fi
[ {LOCK} -ef /proc/self/fd/9 ] || fail "another deploy has just changed this host; run again"
! owned || leave
if [ -n "$run" ] && ! {{ [ "$owner" = "$run" ] && lives $owner_carrier; }}; then
    [ "$owner" = "$run" ] || owner_since=$(date '+%F %T %Z')
    printf '%s\\n' "run $run" "who $run_who" "since $owner_since" "controller $run_controller" \\
        "carrier $(carry)" >{OWNER}.new
    mv -f {OWNER}.new {OWNER}
fi
"""


@dataclass(frozen=True)
class Claim:
    """What a host says of the run that has claimed it.

    `alive`: the process that carries its connection is there, under the number `carrier`; `busy`: a
    script holds the host's lock. `controller` is the run's own process, as `controller` spells it.
    """

    run: str
    who: str
    since: str
    controller: str
    carrier: str
    alive: bool
    busy: bool


def read_claim(answers: Answers) -> Claim | None:
    """The answer to CLAIM_QUESTION; None where nobody has claimed the host since it booted."""
    words = [line.partition(" ") for line in answers["claim"].lines]
    said = {key: value for key, _, value in words}
    if "run" not in said:
        return None
    return Claim(
        run=said["run"],
        who=said.get("who", "somebody"),
        since=said.get("since", "some time"),
        controller=said.get("controller", ""),
        carrier=said.get("carrier", "").partition(" ")[0],
        alive="alive" in said,
        busy="busy" in said,
    )


def introduce(run: str, who: str, controller: str, ended: str = "") -> str:
    """Shell variables that say whose script it is. `ended`: a run that is known to be dead, though
    its connection may not be."""
    values = {"run": run, "run_who": who, "run_controller": controller, "run_ended": ended}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def in_the_way(claim: Claim, is_here: bool) -> str:
    """Why a run has to leave a host to another; `is_here`: that one runs on this very machine."""
    what = (
        f"another deploy is changing this host right now: {claim.who}, since {claim.since}; "
        "wait until it has ended, then run again"
    )
    if is_here:
        return f"{what} (it runs on this machine)"
    return f"{what} (if it is dead: `kill {claim.carrier}` on the host ends its connection, and frees it)"
