# The driver step on dnf.
dnf_run() {
    dnf -y -q --setopt=retries=3 --setopt=install_weak_deps=False --disableplugin=versionlock "$@" </dev/null >"$work/dnf" 2>&1 && return
    code=$?
    grep -vE '^$|^Last metadata' "$work/dnf" | tail -n 8 >&2 || :
    return $code
}
dnf_ask() { dnf -q --disableplugin=versionlock "$@" </dev/null 2>/dev/null; }

pm_repair() { # rpm has no half-configured state; an interrupted transaction leaves doubles
    [ -z "$(dnf_ask repoquery --duplicates --qf '%{name}\n' | grep nvidia)" ] ||
        dnf_run remove --duplicates || say "dnf could not clear up an interrupted transaction"
}

pm_commands() {
    missing=
    while [ $# -gt 1 ]; do
        command -v "$1" >/dev/null || missing="$missing $2"
        shift 2
    done
    [ -z "$missing" ] || dnf_run install $missing || fail "cannot install$missing; nothing else was changed"
}

pm_repository() {
    pm_commands curl curl gpg gnupg2
    repository_key
    for list in $STALE; do
        put_aside "$list"
    done
    rpm -e --allmatches gpg-pubkey-7fa2af80 2>/dev/null || :
    place "$work/key.asc" "$KEY_PATH"
    rpm --import "$KEY_PATH" || fail "rpm does not take the key $KEY_PATH; the driver is unchanged"
    write_source
    dnf_run makecache --disablerepo='*' --enablerepo="$SOURCE_ID" || {
        rm -f "$SOURCE"
        fail "dnf cannot use $REPOSITORY; the driver is unchanged"
    }
    dkms_source
    tools
    enabled_stream >"$work/stream-before"
    stream "$STREAM"
}

pm_undo() { # the stream that was chosen for a driver that never came
    [ ! -s "$work/stream-before" ] || (stream "$(cat "$work/stream-before")")
}

dkms_source() { # dkms is in EPEL, and what it needs in the builder repository
    [ -z "$(dnf_ask repoquery dkms)" ] || return 0
    if [ -n "$BUILDER" ]; then
        # On RHEL subscription-manager owns the file that config-manager would write to.
        if command -v subscription-manager >/dev/null; then
            subscription-manager repos --enable "$BUILDER" >/dev/null || :
        else
            dnf_ask config-manager --help >/dev/null || dnf_run install 'dnf-command(config-manager)' || :
            dnf_run config-manager --set-enabled "$BUILDER" || :
        fi
    fi
    [ -z "$DKMS_RELEASE" ] || dnf_run install "$DKMS_RELEASE" || :
    [ -n "$(dnf_ask repoquery dkms)" ] || fail "no repository of this host has the package dkms; enable EPEL${BUILDER:+ and $BUILDER} (or a mirror of them), then run again. The driver is unchanged"
}

tools() { # what some kernels are built with, where it is offered
    for name in $TOOLS; do
        [ -z "$(pm_list "$name")" ] || dnf_run install "$name" || :
    done
}

enabled_stream() { dnf_ask module list --enabled nvidia-driver | awk '$1 == "nvidia-driver" { print $2; exit }'; }

stream() { # stream NAME: the branch, where the distribution has modules
    [ -n "$1" ] && dnf_ask module list nvidia-driver | grep -q '^nvidia-driver' || return 0
    [ "$(enabled_stream)" != "$1" ] || return 0
    dnf_run module reset nvidia-driver && dnf_run module enable "nvidia-driver:$1" ||
        fail "the repository has no module stream nvidia-driver:$1; it has $(dnf_ask module list nvidia-driver | awk '$1 == "nvidia-driver" { print $2 }' | tr '\n' ' ')"
}

pm_list() { dnf_ask repoquery --available --showduplicates --qf '%{name} %{epoch}:%{version}-%{release}.%{arch}' "$1" | sort -u; }

pm_versions() { pm_list "$1" | sed -E 's/^[^ ]+ [0-9]+://; s/-.*//' | sort -rVu; }

pm_full() { pm_list "$1" | awk '{ print $2 }' | grep -E "^[0-9]+:$(echo "$2" | sed 's/\./\\./g')-" | sort -V | tail -n 1; }

pm_have_all() {
    wanted=$1
    shift
    for name; do
        pm_versions "$name" | grep -qxF "$wanted" || return 1
    done
}

specs() {
    for name in $packages; do
        full=$(pm_full "$name" "$version")
        echo "$name${full:+-$full}"
    done
    for name in $FABRIC_UNVERSIONED; do
        [ -z "$(pm_versions "$name")" ] || echo "$name"
    done
}

pm_install_plain() { dnf_run install "$@"; }

pm_newer_kernel() { # mirrors drop old kernels: the newest one gets the driver, and a reboot
    [ "$1" = "$(uname -r)" ] || return 1
    say "the repositories have no headers of kernel $1 any more; installing their newest kernel beside it"
    dnf_run install "$KERNEL" "$KERNEL-devel" && [ "$(installed_kernels | tail -n 1)" != "$1" ]
}

pm_family() {
    rpm -qa --qf '%{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\n' 'nvidia-*' 'libnvidia-*' 'libnvsdm*' 'kmod-nvidia*' 'cuda-drivers*' |
        grep -v container | sort || :
}

pm_snapshot() {
    pm_family >"$work/before"
    cp "$LOCKS" "$work/locks-before" 2>/dev/null || :
}

pm_way_back() {
    while read -r full; do
        [ -n "$(dnf_ask repoquery --disable-modular-filtering "$full")" ] || { say "the repository has no $full any more"; return 1; }
    done <"$work/before"
}

pm_pin() { # exact versions: a stream alone lets the branch's next release in
    command -v dnf >/dev/null && dnf_run install "$LOCK_PACKAGE" || return 1
}

others_locks() { # what is locked besides the driver, the container toolkit among it
    [ ! -e "$LOCKS" ] || awk '/nvidia|libnvsdm|cuda-drivers|the driver changes only/ && !/container/ { next } { print }' "$LOCKS"
}

pm_lock() {
    mkdir -p "${LOCKS%/*}"
    { others_locks
        echo '# Managed by Ollama Fleet: the driver changes only when a deploy says so.'
        pm_family | grep -F "$version" | sed 's/\.[^.]*$/.*/'; } >"$LOCKS.fleet-new"
    mv -fT "$LOCKS.fleet-new" "$LOCKS"
}

pm_try() {
    case ${1:-} in --simulate) set -- --assumeno ;; --download-only) set -- --downloadonly ;; esac
    if [ "${1:-}" = --assumeno ]; then
        # With nothing but an answer missing, dnf says "Operation aborted" and fails.
        dnf --disableplugin=versionlock --assumeno --allowerasing install $(specs) </dev/null >"$work/dnf" 2>&1 ||
            grep -q 'Operation aborted' "$work/dnf" || { tail -n 8 "$work/dnf" >&2; return 1; }
        return 0
    fi
    dnf_run --allowerasing install "$@" $(specs)
}

pm_install() { pm_try && pm_lock; }

pm_purge() {
    if [ -x /usr/bin/nvidia-uninstall ]; then
        /usr/bin/nvidia-uninstall --silent >"$work/uninstall" 2>&1 || return 1
    fi
    names=$(rpm -qa --qf '%{NAME}\n' 'nvidia-*' 'libnvidia-*' '*kmod-nvidia*' 'xorg-x11-drv-nvidia*' | grep -v container || :)
    [ -z "$names" ] || dnf_run remove $names
}

pm_back() {
    # The plugin wants its file, also an empty one.
    if [ -e "$work/locks-before" ]; then place "$work/locks-before" "$LOCKS"; else others_locks >"$work/locks" && place "$work/locks" "$LOCKS"; fi
    (stream "$(cat "$work/stream-before")") || return 1
    dnf_run --allowerasing install $(cat "$work/before")
}
