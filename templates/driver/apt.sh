# The driver step on apt.
# Nothing may ask, nor restart services of its own accord (slices among them) while modules change.
export NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none APT_LISTBUGS_FRONTEND=none
apt_get() {
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" </dev/null >"$work/apt" 2>&1 && return
    code=$?
    grep -E '^(E:|W:|Err:| .*Depends:|dpkg: error)' "$work/apt" | tail -n 12 >&2 || tail -n 5 "$work/apt" >&2
    return $code
}

pm_repair() { # what an interrupted run, or somebody else's, left half done
    [ -n "$(dpkg --audit)$(ls /var/lib/dpkg/updates)" ] || return 0
    say "finishing what an interrupted installation left"
    dpkg --configure -a --force-confdef --force-confold >"$work/dpkg" 2>&1 </dev/null ||
        say "dpkg could not finish: $(tail -n 1 "$work/dpkg")"
    apt_get install --fix-broken || say "apt could not repair what is half installed; the new packages may"
}

pm_commands() { # pm_commands COMMAND PACKAGE …: the package of each command that is missing
    missing=
    while [ $# -gt 1 ]; do
        command -v "$1" >/dev/null || missing="$missing $2"
        shift 2
    done
    [ -z "$missing" ] || { lists; pm_install_plain $missing; } ||
        fail "cannot install$missing; nothing else was changed"
}

lists() { # lists OPTION…: updates them; unlike dpkg's lock, apt does not wait for theirs
    waited=0
    until apt_get update "$@" 2>"$work/lists"; do
        if ! grep -q 'Could not get lock' "$work/lists" || [ "$waited" -ge 300 ]; then
            cat "$work/lists" >&2
            return 1
        fi
        [ "$waited" -gt 0 ] || say "waiting for another apt to finish"
        sleep 5
        waited=$((waited + 5))
    done
}

pm_repository() {
    [ "$SIGNED" = no ] || { rm -f "$SOURCE"; pm_move_stale; lists || :; return 0; }
    pm_commands curl curl gpg gnupg
    repository_key
    pm_move_stale
    if command -v apt-key >/dev/null; then
        apt-key del 7fa2af80 >/dev/null 2>&1 || :
    fi
    place "$work/key.asc" "$KEY_PATH"
    write_source
    # Ours alone, where any trouble is one; a broken list of somebody else's only spoils the second.
    lists -o Dir::Etc::sourcelist="$SOURCE" -o Dir::Etc::sourceparts=/dev/null \
        -o APT::Get::List-Cleanup=0 -o APT::Update::Error-Mode=any || {
        rm -f "$SOURCE"
        fail "apt cannot use $REPOSITORY; the driver is unchanged"
    }
    lists || say "apt could not read all of the host's other lists"
}

pm_move_stale() { # a second list of the same repository, with another key, stops apt altogether
    for list in $STALE; do
        put_aside "$list"
    done
}

pm_anywhere() { # pm_anywhere PACKAGE [ADDRESS]: its versions, of all archives or of one
    apt-cache madison "$1" 2>/dev/null |
        awk -F'|' -v at="${2:-}" 'index($3, at) { gsub(/ /, "", $2); print $2 }'
}

pm_madison() { # the driver comes from one source: Ubuntu's archive has packages of the same names
    if [ "$SIGNED" = yes ]; then pm_anywhere "$1"; else pm_anywhere "$1" "$REPOSITORY"; fi
}

pm_versions() { pm_madison "$1" | sed -E 's/^[0-9]+://; s/[-~+].*//' | sort -rVu; }

pm_full() { # pm_full PACKAGE VERSION: the newest packaging of that driver version
    pm_madison "$1" | grep -E "^([0-9]+:)?$(echo "$2" | sed 's/\./\\./g')([-~+]|\$)" | head -n 1
}

pm_have_all() { # pm_have_all VERSION PACKAGE…
    wanted=$1
    shift
    for name; do
        case $name in
        linux-modules-nvidia-*) [ -n "$(pm_madison "$name")" ] || return 1 ;;
        *) [ -n "$(pm_full "$name" "$wanted")" ] || return 1 ;;
        esac
    done
}

specs() {
    for name in $packages; do
        full=$(pm_full "$name" "$version")
        echo "$name${full:+=$full}"
    done
    for name in $FABRIC_UNVERSIONED; do
        [ -z "$(pm_anywhere "$name")" ] || echo "$name"
    done
}

pm_install_plain() { apt_get install --no-install-recommends "$@"; }

pm_newer_kernel() { return 1; }

pm_family() { # name=version of what is installed of the driver
    dpkg-query -W -f '${db:Status-Abbrev}|${Package}=${Version}\n' 'nvidia-*' 'libnvidia-*' 'libnvsdm*' \
        'libcuda*' 'cuda-drivers*' 'firmware-nvidia*' 'linux-modules-nvidia-*' 'xserver-xorg-video-nvidia*' 2>/dev/null |
        sed -n 's/^.i *|//p' | grep -v container || :
}

pm_snapshot() {
    held=$(apt-mark showhold | grep nvidia | tr '\n' ' ')
    [ -z "$held" ] || say "on hold, and changed all the same, for the inventory says so: $held"
    echo "$held" >"$work/held"
    pm_family >"$work/before"
    cp "$PIN" "$work/pin-before" 2>/dev/null || :
}

pm_way_back() { # whether the repository still has what is installed
    while IFS='=' read -r name full; do
        pm_anywhere "$name" | grep -qxF "$full" || { say "the repository has no $name $full any more"; return 1; }
    done <"$work/before"
    apt_get install --reinstall --download-only --allow-downgrades $(cat "$work/before")
}

pin_text() {
    cat <<END
# Managed by Ollama Fleet: the driver changes only when a deploy says so.
Package: nvidia-* libnvidia-* libnvsdm* libcuda1 firmware-nvidia-* cuda-drivers* xserver-xorg-video-nvidia*
Pin: version $version-*
Pin-Priority: 1001
END
}

pm_pin() { # before the driver: nothing may drag a newer branch in
    mkdir -p "${PIN%/*}"
    pin_text >"$work/pin" && place "$work/pin" "$PIN" || return 1
    [ "$SIGNED" = no ] || return 0
    for name in "$PIN_PACKAGE-$VERSION" "$PIN_PACKAGE-$BRANCH"; do
        [ -n "$(pm_madison "$name")" ] || continue
        pm_install_plain "$name"
        return
    done
    say "the repository has no $PIN_PACKAGE-$BRANCH; the pin in $PIN alone holds the version"
}

pm_try() { # pm_try OPTION…: the one transaction, simulated or only fetched
    # Under the pins that will hold, which are not yet, or no longer, those of the host.
    rm -rf "$work/preferences" && mkdir "$work/preferences"
    for file in /etc/apt/preferences.d/*; do
        case $file in "$PIN" | */nvidia-driver-pin | */\*) continue ;; esac
        cp "$file" "$work/preferences/"
    done
    pin_text >"$work/preferences/${PIN##*/}"
    apt_get install --no-install-recommends --allow-downgrades --allow-change-held-packages \
        -o Dir::Etc::preferencesparts="$work/preferences" "$@" $(specs)
}

hold_again() { # apt forgets the hold of a package that it changes
    for name in $(cat "$work/held" 2>/dev/null); do
        apt-mark hold "$name" >/dev/null 2>&1 || :
    done
}

pm_install() { pm_try && hold_again; }

pm_lock() { :; } # the pin does it

pm_purge() {
    if [ -x /usr/bin/nvidia-uninstall ]; then
        /usr/bin/nvidia-uninstall --silent >"$work/uninstall" 2>&1 || return 1
    fi
    names=$(pm_family | grep -v '^linux-modules' | cut -d= -f1)
    [ -z "$names" ] || apt_get purge --allow-change-held-packages $names
}

pm_back() {
    if [ -e "$work/pin-before" ]; then place "$work/pin-before" "$PIN"; else rm -f "$PIN"; fi
    cut -d= -f1 "$work/before" >"$work/names-before"
    new=$(pm_family | cut -d= -f1 | grep -vxFf "$work/names-before" | sed 's/$/-/')
    dpkg --configure -a --force-confdef --force-confold >/dev/null 2>&1 </dev/null || :
    apt_get install --no-install-recommends --allow-downgrades --allow-change-held-packages \
        $(cat "$work/before") $new && hold_again
}
