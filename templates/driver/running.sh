# What runs on the GPUs: stopped in NVIDIA's order, unloaded, loaded, started and proved.
# Their modules are found by who holds whom: besides nvidia_drm there may be gdrdrv or nvidia_fs.
# Services of the driver's own family, in the order in which they have to stop.
# Ours among them ask it every few seconds.
FAMILY_UNITS='ollama-metrics ollama-dcgm-exporter nvidia-dcgm-exporter dcgm-exporter nvidia-dcgm dcgm nvsm nvsm-core nvidia-imex nvidia-persistenced nvidia-fabricmanager nvlsm'

loaded() { [ -d /sys/module/nvidia ]; }

loaded_version() {
    sed -nE '1s/.*Kernel Module +(for [^ ]+ +)?([0-9]+(\.[0-9]+)+).*/\2/p' /proc/driver/nvidia/version 2>/dev/null
}

strangers() { # processes with a GPU open that are neither slices of ours nor the driver's own
    find /proc/[0-9]*/fd -lname '/dev/nvidia*' 2>/dev/null | cut -d/ -f3 | sort -un | while read -r pid; do
        group=$(cat "/proc/$pid/cgroup" 2>/dev/null) || continue
        case $group in
        *docker* | *libpod* | *cri-* | *kubepods*)
            container=$(echo "$group" | grep -oE '[0-9a-f]{64}' | tail -n 1 | cut -c 1-12)
            echo "$(cat "/proc/$pid/comm" 2>/dev/null) (pid $pid${container:+, container $container})"
            continue
            ;;
        *ollama-*.service* | *dcgm*.service* | *nvsm*.service* | *nvidia-*.service* | *nvlsm.service*) continue ;;
        esac
        unit=$(echo "$group" | grep -oE '[^/]+\.(service|scope)' | tail -n 1)
        echo "$(cat "/proc/$pid/comm" 2>/dev/null) (pid $pid${unit:+, $unit})"
    done
}

stop_family() { # twice in a run that goes back: what the first call stopped is not forgotten
    for unit in $FAMILY_UNITS; do
        systemctl is-active --quiet "$unit" || continue
        echo "$unit" >>"$work/stopped"
        systemctl stop "$unit" || :
    done
}

start_family() { # what was stopped; containers' device lists name the driver's files
    for unit in nvidia-cdi-refresh.service fleet-cdi.service; do
        ! systemctl cat "$unit" >/dev/null 2>&1 || systemctl restart "$unit" || say "$unit fails; see its journal"
    done
    for unit in $(cat "$work/stopped" 2>/dev/null); do
        systemctl start "$unit" 2>/dev/null || say "$unit does not start again; see journalctl --unit $unit"
    done
}

modules() { # modules NAME: what is loaded on top of it, each before what it needs, and it itself
    for holder in $(ls "/sys/module/$1/holders" 2>/dev/null); do
        modules "$holder"
    done
    [ ! -d "/sys/module/$1" ] || echo "$1"
}

in_use() { # in words, the first module that is used by more than what is loaded on top of it; nothing when none is
    while read -r module; do
        users=$(cat "/sys/module/$module/refcnt" 2>/dev/null || echo 0)
        dependants=$(ls "/sys/module/$module/holders" 2>/dev/null | wc -l)
        [ "$users" -le "$dependants" ] || echo "$module is in use by $((users - dependants)) more than its own modules"
    done <"$work/unloaded" | head -n 1
}

unload() { # all modules, or a reason on stderr and as many as there were
    [ -d /sys/module/nvidia ] || return 0
    { cat "$work/unloaded" 2>/dev/null || :; modules nvidia; } | awk '!seen[$0]++' >"$work/modules"
    mv "$work/modules" "$work/unloaded"
    # Who was stopped just now, or asks nvidia-smi something, has them for another moment.
    tries=0
    while held=$(in_use) && [ -n "$held" ]; do
        [ $tries -lt 20 ] || { echo "$held" >&2; return 1; }
        tries=$((tries + 1))
        sleep 0.5
    done
    while read -r module; do
        [ ! -d "/sys/module/$module" ] || rmmod "$module" || { load; return 1; } 2>/dev/null
    done <"$work/unloaded"
}

load() {
    modprobe nvidia 2>"$work/modprobe" && modprobe nvidia-uvm 2>>"$work/modprobe" || {
        said=$(cat "$work/modprobe")
        case $said in
        *'Key was rejected'* | *'Required key'*) echo "Secure Boot rejects the driver's module ($said); its key is not enrolled" >&2 ;;
        *) echo "the driver does not load: $said; see \`dmesg | grep -i nvrm\`" >&2 ;;
        esac
        return 1
    }
    modprobe nvidia-modeset 2>/dev/null || :
    for module in $BRIDGES; do
        modprobe "$module" 2>/dev/null || say "there is no module $module for this kernel: NVSwitches of the fifth NVLink are not found without (on Ubuntu: linux-modules-extra)"
    done
    for module in $(cat "$work/unloaded" 2>/dev/null); do
        modprobe "$module" 2>/dev/null || say "$module was loaded before, and does not load with this driver"
    done
    ! command -v nvidia-modprobe >/dev/null || nvidia-modprobe -u -c=0 2>/dev/null || :
}

persistence() { # some packages start it with the very thing switched off that it is for
    line=$(systemctl cat nvidia-persistenced.service 2>/dev/null | sed -n 's/^ExecStart=\(..*\)/\1/p' | tail -n 1)
    [ -n "$line" ] || { nvidia-smi -pm 1 >/dev/null 2>&1 || :; return 0; }
    case $line in
    *--no-persistence-mode*)
        mkdir -p "${PERSISTENCE%/*}"
        {
            echo '# Managed by Ollama Fleet: an idle GPU stays set up, or the first request waits for it.'
            echo '[Service]'
            echo 'ExecStart='
            echo "ExecStart=$(echo "$line" | sed 's/--no-persistence-mode/--persistence-mode/')"
        } >"$PERSISTENCE.fleet-new"
        mv -fT "$PERSISTENCE.fleet-new" "$PERSISTENCE"
        systemctl daemon-reload
        systemctl stop nvidia-persistenced.service
        ;;
    esac
    systemctl enable --quiet nvidia-persistenced.service 2>/dev/null || :
    loaded || return 0
    systemctl start nvidia-persistenced.service || say 'the persistence daemon does not start; see journalctl --unit nvidia-persistenced'
}

fabric() { # nvidia-smi looks healthy without it, and every CUDA call fails
    [ "$FABRIC" = yes ] || return 0
    systemctl enable --quiet nvidia-fabricmanager.service || return 1
    loaded || return 0
    systemctl reset-failed nvidia-fabricmanager.service 2>/dev/null || :
    if ! systemctl restart nvidia-fabricmanager.service || ! systemctl is-active --quiet nvidia-fabricmanager.service; then
        echo 'the fabric manager does not start; its last words:' >&2
        journalctl --unit nvidia-fabricmanager --lines 10 --no-pager --output cat >&2 || :
        return 1
    fi
}

proved() { # what the driver and the slices say themselves
    now=$(loaded_version)
    [ -z "$version" ] || [ "$now" = "$version" ] || { echo "driver ${now:-none} is loaded, not $version" >&2; return 1; }
    # Beside the exit code: with a lost GPU it is 0 as well.
    shown=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>&1) || { echo "nvidia-smi fails: $shown" >&2; return 1; }
    right=$(printf '%s\n' "$shown" | grep -cxF "$now") || :
    [ "$right" = "$GPUS" ] || { echo "nvidia-smi shows $right of $GPUS GPUs with driver $now: $shown" >&2; return 1; }
}

serving() { # each slice answers, and its model is on a GPU
    while read -r unit port model; do
        [ -n "$unit" ] || continue
        case $(systemctl show -p ActiveState --value "$unit") in
        active) ;;
        activating) systemctl start "$unit" 2>/dev/null || : ;; # between two tries
        *) continue ;; # as somebody left it: whoever was to run is started by now
        esac
        systemctl is-active --quiet "$unit" || { echo "$unit does not run" >&2; return 1; }
        curl --noproxy '*' -fsS --max-time 15 -o /dev/null "http://127.0.0.1:$port/api/version" || { echo "$unit does not answer" >&2; return 1; }
        [ "$model" != - ] || continue
        curl --noproxy '*' -fsS --max-time "$LOAD_TIMEOUT" -o /dev/null "http://127.0.0.1:$port/api/generate" -d "{\"model\": \"$model\", \"stream\": false}" ||
            { echo "$unit does not load $model" >&2; return 1; }
        curl --noproxy '*' -fsS --max-time 15 "http://127.0.0.1:$port/api/ps" | tr ',{' '\n\n' | grep -q '"size_vram": *[1-9]' ||
            { echo "$unit has $model in RAM, not on its GPU" >&2; return 1; }
    done <"$work/serving"
}

start_up() {
    if [ -d /sys/module/nouveau ]; then
        rmmod nouveau 2>/dev/null || { say 'nouveau holds the GPUs until the next boot'; later=yes; persistence; return 0; }
    fi
    if [ -z "$(modinfo -k "$(uname -r)" -F version nvidia 2>/dev/null)" ]; then
        say "the running kernel $(uname -r) has no driver module; the newest one has"
        later=yes
        persistence
        return 0
    fi
    load && persistence && fabric && start_family && proved
}
