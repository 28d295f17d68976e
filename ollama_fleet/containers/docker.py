"""How a runtime gets a new configuration: written safely, taken up without stopping containers. Shell."""

import base64
import shlex

from ollama_fleet.containers.state import ConfigFile

# dockerd can check a configuration since version 23.
DOCKER_VALID = """if dockerd --help 2>/dev/null | grep -q -e --validate; then
        dockerd --validate --config-file="$new" >/dev/null
    fi"""
CONTAINERD_VALID = 'containerd --config "$new" config dump >/dev/null'

# On SIGHUP dockerd reads `runtimes` again; CDI and what `--gpus` needs only when it starts.
_TAKE_UP = """
if systemctl is-active --quiet docker.service; then
    knows_runtime() {{ docker info --format '{{{{json .Runtimes}}}}' 2>/dev/null | grep -q '"nvidia"'; }}
    reads_cdi() {{ docker info --format '{{{{json .CDISpecDirs}}}}' 2>/dev/null | grep -q '"/'; }}
    tries=0
    systemctl reload docker.service
    until knows_runtime || [ "$tries" -ge 20 ]; do sleep 0.5; tries=$((tries + 1)); done
    lacks={lacks}
    knows_runtime || lacks='the nvidia runtime'
    {cdi}
    stops=$(docker ps --format '{{{{.Names}}}}' | xargs)
    live=$(docker info --format '{{{{.LiveRestoreEnabled}}}}')
    if [ -z "$lacks" ]; then
        :
    elif [ -z "$stops" ] || [ "$live" = true ]; then
        say "restarting docker.service for $lacks"
        systemctl restart docker.service
        knows_runtime || fail 'Docker does not know the nvidia runtime; see `journalctl -u docker`'
    elif knows_runtime; then
        say "Docker has $lacks from its next restart on; none now, because it would stop: $stops"
    else
        fail "Docker takes $lacks only after a restart, which would stop: $stops; stop them, or set \\
live-restore, and run again"
    fi
fi"""


def write_step(config: ConfigFile, text: str, valid: str) -> str:
    """Shell that replaces a configuration by `text` if it is still what was read; `valid` is shell
    that fails for a bad file "$new". The first original stays beside it."""
    content = base64.b64encode(text.encode()).decode()
    return f"""(
    path={shlex.quote(config.path)}
    new=$path.fleet-new
    mkdir -p "${{path%/*}}"
    found=$(if [ -e "$path" ]; then sha256sum <"$path" | cut -d' ' -f1; fi)
    [ "$found" = '{config.sha256}' ] || fail "$path was changed just now by somebody else; run again"
    trap 'rm -f "$new"' EXIT
    echo {content} | base64 -d >"$new"
    chmod {config.mode} "$new"
    [ ! -e "$path" ] || chown --reference="$path" "$new"
    {valid}
    [ ! -e "$path" ] || [ -e "$path.before-fleet" ] || cp -p "$path" "$path.before-fleet"
    mv -fT "$new" "$path"
    ! command -v restorecon >/dev/null || restorecon "$path"
    say "wrote $path"
)"""


def take_up_step(cdi: bool, fresh: bool) -> str:
    """Shell after which a running Docker knows the runtime, and reads CDI where `cdi`. `fresh`: the
    toolkit was not there when it started, so that it does not know `--gpus` yet."""
    ask_cdi = "reads_cdi || lacks=${lacks:-'CDI'}" if cdi else ":"
    return _TAKE_UP.format(lacks="'`--gpus`'" if fresh else "", cdi=ask_cdi)


def containerd_restart_step() -> str:
    """Shell: containers go on while containerd restarts."""
    return """if systemctl is-active --quiet containerd.service; then
    say 'restarting containerd.service (its containers go on)'
    systemctl restart containerd.service
fi
containerd config dump 2>/dev/null | grep -q nvidia-container-runtime ||
    fail 'containerd does not know the nvidia runtime; does a file of its `imports` replace it?'"""
