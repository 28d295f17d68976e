"""Containers that were given GPUs behind systemd's back keep them when systemd is reloaded.

The toolkit's old hook opens a container's device filter by itself. At the next `systemctl
daemon-reload`, ours or anybody's, systemd puts its own filter back, and the container has lost its
GPUs ("Failed to initialize NVML: Unknown Error"). What systemd is told, it keeps: so each running
container's scope is told of the nodes that the container has and may open. It gets nothing that it had
not: a node in its /dev is no right to it (`-v /dev:/dev`), so each is tried from where the container
is. A paused container cannot be tried, because whoever joins it is paused as well.
"""

from ollama_fleet.questions import Answers

# Scopes of Docker, Podman, containerd and CRI-O where systemd owns the control groups.
_SCOPES = "'docker-*.scope' 'libpod-*.scope' 'cri-containerd-*.scope' 'crio-*.scope'"
# A shell joins the container's own control group and opens each node, so that the kernel applies the
# container's device list. It starts nothing in there, where processes may be counted; a driver that
# hangs, or somebody who pauses the container just now, holds it up for a while only.
_OPEN = """timeout -s KILL 10 sh -c 'scope=$0 procs=$1 opened=
    shift
    echo $$ >"$procs" || exit 0
    for node in "$@"; do
        if command : <>"$node"; then
            opened="$opened $node:rw"
        elif command : <"$node"; then
            opened="$opened $node:r"
        fi
    done
    [ -z "$opened" ] || echo "$scope$opened"'"""
# Prints `<scope> <node>:rw …` for every scope that does not know of nodes which its container uses;
# systemd shows what it knows as /dev/char/<major>:<minor> or as a path. With no policy and no list it
# filters nothing: a --privileged container loses nothing, and one entry would shut it off from the rest.
_UNKNOWN = f"""
nodes=$(stat -c '%n %t %T' /dev/nvidia* /dev/nvidia-caps*/* 2>/dev/null | while read -r node major minor; do
    [ ! -c "$node" ] || echo "$node@$((0x$major)):$((0x$minor))"
done)
[ -n "$nodes" ] || exit 0
root=/sys/fs/cgroup devices=
[ -f $root/cgroup.controllers ] || root=$root/devices devices=devices

find_process() {{ # $pid: one of the scope's, or of a group below it
    pid=0
    for procs in /sys/fs/cgroup/systemd$group /sys/fs/cgroup$group /sys/fs/cgroup$group/*; do
        [ "$pid" -gt 0 ] || [ ! -r "$procs/cgroup.procs" ] || read -r pid <"$procs/cgroup.procs" || pid=0
    done
    [ "$pid" -gt 0 ]
}}

find_place() {{ # $place: the control group that filters its devices, unless it is paused
    place=
    while IFS=: read -r number names path; do
        [ "$names" != "$devices" ] || place=$root$path
    done <"/proc/$pid/cgroup" || :
    [ -n "$place" ] || return 1
    [ -e "$place/cgroup.events" ] || return 0
    while read -r what now; do
        [ "$what $now" != 'frozen 1' ] || return 1
    done <"$place/cgroup.events"
}}

look() {{
    [ -n "$group" ] && [ "$policy$known" != auto ] && find_process || return 0
    unknown=
    for node in $nodes; do
        [ -c "/proc/$pid/root${{node%@*}}" ] || continue
        case " $known" in
        *" /dev/char/${{node#*@}} "* | *" ${{node%@*}} "*) ;;
        *) unknown="$unknown ${{node%@*}}" ;;
        esac
    done
    [ -n "$unknown" ] && find_place || return 0
    {_OPEN} "$scope" "$place/cgroup.procs" $unknown 2>/dev/null || :
}}

scope= group= policy= known=
{{ systemctl show -p Id,ControlGroup,DevicePolicy,DeviceAllow {_SCOPES} && echo; }} |
while IFS='=' read -r key value; do
    case $key in
    Id) scope=$value ;;
    ControlGroup) group=$value ;;
    DevicePolicy) policy=$value ;;
    DeviceAllow) known="$known$value " ;;
    '')
        look
        scope= group= policy= known=
        ;;
    esac
done
"""
QUESTIONS = {"containers.unknown-devices": f"{_UNKNOWN}true"}


def unknown(answers: Answers) -> list[str]:
    """`<scope> <node>:<access> …` for all that systemd would take away, of the answers to QUESTIONS."""
    lines = answers["containers.unknown-devices"].lines
    return [line for line in lines if ".scope /dev/" in line]


def protect_step() -> str:
    """Shell that tells systemd of every node that running containers have. All of them are found
    before the first is told of: that puts systemd's own filter back at once."""
    return f"""say 'telling systemd of the GPUs that running containers have'
unknown=$({_UNKNOWN})
echo "$unknown" | while read -r scope nodes; do
    set --
    for node in $nodes; do
        set -- "$@" "DeviceAllow=${{node%:*}} ${{node##*:}}"
    done
    [ $# = 0 ] || systemctl set-property --runtime "$scope" "$@" || say "$scope has just ended"
done"""
