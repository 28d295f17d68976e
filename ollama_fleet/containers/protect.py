"""Containers that were given GPUs behind systemd's back keep them when systemd is reloaded.

The toolkit's old hook opens a container's device filter by itself. At the next `systemctl
daemon-reload`, ours or anybody's, systemd puts its own filter back, and the container has lost its
GPUs ("Failed to initialize NVML: Unknown Error"). What systemd is told, it keeps: so each running
container's scope is told of the nodes that the container has. It gets nothing that it had not.
"""

from ollama_fleet.questions import Answers

# Scopes of Docker, Podman, containerd and CRI-O where systemd owns the control groups.
_SCOPES = "'docker-*.scope' 'libpod-*.scope' 'cri-containerd-*.scope' 'crio-*.scope'"
# Prints `<scope> <node>` for every NVIDIA node in a container that its scope does not know of;
# systemd shows what it knows as /dev/char/<major>:<minor> or as a path.
_UNKNOWN = f"""
systemctl list-units --type=scope --state=running --plain --no-legend {_SCOPES} |
while read -r scope rest; do
    group=$(systemctl show -p ControlGroup --value "$scope")
    for procs in /sys/fs/cgroup/systemd$group/cgroup.procs /sys/fs/cgroup$group/cgroup.procs; do
        [ ! -r "$procs" ] || read -r pid <"$procs"
    done
    [ "${{pid:-0}}" -gt 0 ] || continue
    known=$(systemctl show -p DeviceAllow --value "$scope" | tr '\\n' ' ')
    for node in "/proc/$pid/root/dev"/nvidia* "/proc/$pid/root/dev"/nvidia-caps/*; do
        [ -c "$node" ] || continue
        number=$(stat -c '%t %T' "$node")
        number=$((0x${{number% *}})):$((0x${{number#* }}))
        path=/dev/${{node#/proc/"$pid"/root/dev/}}
        case " $known " in
        *"/dev/char/$number "* | *" $path "*) ;;
        *) [ ! -c "$path" ] || echo "$scope $path" ;;
        esac
    done
    pid=
done
"""
QUESTIONS = {"containers.unknown-devices": f"{_UNKNOWN}true"}


def unknown(answers: Answers) -> list[tuple[str, str]]:
    """Scope and node of everything that systemd would take away, of the answers to QUESTIONS."""
    rows = [line.split() for line in answers["containers.unknown-devices"].lines]
    return [(row[0], row[1]) for row in rows if len(row) == 2 and row[0].endswith(".scope")]


def protect_step() -> str:
    """Shell that tells systemd of every node that running containers have."""
    return f"""say 'telling systemd of the GPUs that running containers have'
( {_UNKNOWN} ) | while read -r scope node; do
    systemctl set-property --runtime "$scope" "DeviceAllow=$node rw"
done"""
