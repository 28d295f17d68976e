# Functions of the driver step that know no package manager. The variables in capitals are set above.
work=$(mktemp -d)
: >"$work/aside"
pm_undo() { :; }
unmark_slices() { :; }
trap 'undo || :; unmark_slices || :; rm -rf "$work"' EXIT
version=$VERSION
packages=

undo() { # of a change that stopped before its transaction; and of a source that was there for one package only
    if [ -e "$work/begun" ]; then
        [ -e "$work/passing" ] || return 0
    else
        pm_undo
    fi
    [ ! -e "$work/new-source" ] || rm -f "$SOURCE" "$KEY_PATH"
    while read -r list; do
        mv -f "$list.before-fleet" "$list"
    done <"$work/aside"
}

put_aside() { # put_aside FILE: a list of packages that is in the way
    [ -e "$1" ] || return 0
    say "moving $1 aside"
    mv -f "$1" "$1.before-fleet" && echo "$1" >>"$work/aside"
}

report_proxy() { # said with every failed fetch: half of them are a proxy that is not set
    [ -n "${https_proxy:-}" ] && echo "through the proxy of the inventory" || echo "without a proxy"
}

fetch_key() { # the repository's key, as a file of ours
    code=0
    curl -fsSL --connect-timeout 20 --retry 3 --retry-delay 2 -o "$work/key" \
        "$REPOSITORY/$KEY_FILE" 2>"$work/curl" || code=$?
    case $code in
    0) ;;
    22) fail "$REPOSITORY/$KEY_FILE is not there: $(cat "$work/curl"). Has the repository $DISTRIBUTION on $(uname -m)? Is \`driver: {repository: …}\` right? Nothing was changed" ;;
    *) fail "cannot fetch $REPOSITORY/$KEY_FILE $(report_proxy): $(cat "$work/curl"). Nothing was changed; run again" ;;
    esac
}

repository_key() { # into $work/key.asc: the inventory's, or one of the full fingerprint that is pinned
    where=$REPOSITORY/$KEY_FILE
    if [ -n "$KEY" ]; then
        where='`driver: {key: …}`'
        echo "$KEY" | base64 -d >"$work/key"
    else
        fetch_key
    fi
    mkdir -p -m 700 "$work/gnupg"
    gpg --homedir "$work/gnupg" --batch --show-keys --with-colons "$work/key" >"$work/keys" 2>/dev/null ||
        fail "$where is no OpenPGP key; nothing was changed"
    found=$(awk -F: '$1 == "pub" { new = 1 } $1 == "fpr" && new { print $10; new = 0 }' "$work/keys")
    [ "$found" = "${FINGERPRINT:-$found}" ] || fail "the key at $where has the fingerprint
$(echo $found)
and pinned is
$FINGERPRINT; nothing was changed. Ask whoever runs the repository before you change the pin"
    if grep -q 'BEGIN PGP PUBLIC KEY' "$work/key"; then
        cp "$work/key" "$work/key.asc"
    else
        gpg --homedir "$work/gnupg" --batch --quiet --import "$work/key" &&
            gpg --homedir "$work/gnupg" --batch --armor --export >"$work/key.asc"
    fi
}

place() { # place FILE PATH: a copy at PATH, moved there whole
    mkdir -p "${2%/*}" && cp "$1" "$2.fleet-new" && chmod 0644 "$2.fleet-new" && mv -fT "$2.fleet-new" "$2"
}

choose_branch() { # which one the repository has is known only now
    [ -n "$BRANCH_ELSE" ] && [ -z "$VERSION" ] || return 0
    while read -r set; do
        ! pm_versions "${set%% *}" | grep -q "^$BRANCH\." || return 0
    done <"$work/sets"
    say "the repository has no driver of branch $BRANCH for $DISTRIBUTION; taking $BRANCH_ELSE"
    BRANCH=$BRANCH_ELSE
}

pick() { # the newest version that a whole set has; its packages into $packages
    best=
    while read -r set; do
        for candidate in $(pm_versions "${set%% *}"); do
            case $candidate in "$VERSION" | "$BRANCH".*) ;; *) continue ;; esac
            [ -z "$VERSION" ] || [ "$candidate" = "$VERSION" ] || continue
            if pm_have_all "$candidate" $set; then
                newer "$candidate" "$best" || break
                best=$candidate packages=$set
                break
            fi
        done
    done <"$work/sets"
    [ -n "$best" ] || fail "the repository has no driver ${VERSION:-of branch $BRANCH} with the $FLAVOUR kernel modules for $DISTRIBUTION on $(uname -m). It has: $(offered). Nothing was changed"
    version=$best
    for name in $OPTIONAL; do
        ! pm_have_all "$version" "$name" || packages="$packages $name"
    done
}

pick_fabric() {
    [ "$FABRIC" = yes ] || return 0
    chosen=
    while read -r set; do
        [ -n "$chosen" ] || ! pm_have_all "$version" $set || chosen=$set
    done <"$work/fabric-sets"
    [ -n "$chosen" ] || fail "the repository has no fabric manager $version, and the host has NVSwitches; nothing was changed"
    packages="$packages $chosen"
    for name in $FABRIC_OPTIONAL; do
        ! pm_have_all "$version" "$name" || packages="$packages $name"
    done
}

newer() { # newer A B: A is a higher version, or B is none
    [ -z "$2" ] || { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | tail -n 1)" = "$1" ]; }
}

offered() {
    found=$(while read -r set; do pm_versions "${set%% *}"; done <"$work/sets" | sort -Vu | tr '\n' ' ')
    echo "${found:-no such packages at all}"
}

installed_kernels() { # those that can be booted, oldest first
    for place in /lib/modules/*; do
        kernel=${place##*/}
        # One for debugging is booted by hand, and sorts last.
        case $kernel in "$(uname -r)") ;; *+debug) continue ;; esac
        [ "$kernel" = "$(uname -r)" ] || [ -e "/boot/vmlinuz-$kernel" ] || [ -e "$place/vmlinuz" ] ||
            [ -d "$place/kernel" ] || continue
        echo "$kernel"
    done | sort -V
}

headers_of() { # headers_of KERNEL: the first of the packages that have them; its name in $name
    echo "$HEADERS" >"$work/headers"
    while read -r pattern <&4; do
        name=$(printf "$pattern" "$1")
        say "installing $name"
        pm_install_plain "$name" && [ -e "/lib/modules/$1/build/." ] && return 0
    done 4<"$work/headers"
    return 1
}

headers() { # of every kernel that can be booted, and of the next one
    [ "$SIGNED" = no ] || return 0
    for kernel in $(installed_kernels); do
        [ ! -e "/lib/modules/$kernel/build/." ] || continue
        ! headers_of "$kernel" || continue
        if [ "$kernel" = "$(uname -r)" ] || [ "$kernel" = "$(installed_kernels | tail -n 1)" ]; then
            pm_newer_kernel "$kernel" || fail "no package $name can be installed, so no driver module can be built for kernel $kernel. Add a repository that has it, or remove that kernel (boot another one first if it is the running one), then run again. The driver is unchanged"
        else
            say "no headers of the old kernel $kernel are to be had; it will have no driver"
        fi
    done
    for name in $HEADERS_NEXT; do
        pm_install_plain "$name" || say "no $name is to be had: the next kernel will come without headers, and without a driver"
    done
}

check_modules() { # the proof that the packages did what they say
    for kernel in $(installed_kernels); do
        [ "$SIGNED" = yes ] || [ -e "/lib/modules/$kernel/build/." ] || continue
        has_module "$kernel" && continue
        [ "$SIGNED" = yes ] || ! command -v dkms >/dev/null || dkms autoinstall -k "$kernel" >"$work/dkms" 2>&1 || :
        has_module "$kernel" && continue
        [ "$SIGNED" = yes ] || ! command -v dkms >/dev/null || rebuild "$kernel" >>"$work/dkms" 2>&1 || :
        has_module "$kernel" && continue
        # Canonical builds for the kernels of its archive only; an old one may stay without.
        [ "$SIGNED" = no ] || [ "$kernel" = "$(uname -r)" ] || continue
        build_log
        echo "driver $version has no module for kernel $kernel (dkms: $(dkms status 2>/dev/null | grep -F "$kernel" | tr '\n' ' '))" >&2
        return 1
    done
    newest=$(installed_kernels | tail -n 1)
    has_module "$newest" || { echo "driver $version has no module for kernel $newest, which boots next" >&2; return 1; }
    [ -n "$(command -v nvidia-smi)" ] || { echo "the packages brought no nvidia-smi" >&2; return 1; }
}

rebuild() { # rebuild KERNEL: dkms leaves alone what it has installed once, whatever became of the file
    name=$(dkms status -k "$1" | grep -F "$version" | sed -nE 's/^(nvidia[a-z-]*)[/,].*/\1/p' | head -n 1)
    [ -n "$name" ] || return 1
    dkms remove -m "$name" -v "$version" -k "$1"
    dkms add -m "$name" -v "$version" || : # the last kernel's removal forgets the source, too
    dkms install -m "$name" -v "$version" -k "$1"
}

build_log() { # why DKMS built nothing
    for log in "/var/lib/dkms/nvidia/$version/build/make.log" "$work/dkms"; do
        [ ! -s "$log" ] || { tail -n 12 "$log" >&2; return 0; }
    done
}

has_module() { # both of what DKMS says: `nvidia, 580.95.05, …` (2.x), `nvidia/580.95.05, …` (3.x)
    [ "$(modinfo -k "$1" -F version nvidia 2>/dev/null)" = "$version" ] || return 1
    [ "$SIGNED" = no ] || return 0
    ! command -v dkms >/dev/null ||
        dkms status -k "$1" 2>/dev/null | grep -F "$version" | grep -qE '^nvidia[a-z-]*[/,].*: installed'
}

initramfs() { # only when the settings that keep nouveau out are newer than it
    # Only a kernel's own image: nothing ever makes the rescue system's or kdump's anew.
    for kernel in $(installed_kernels); do
        for image in "/boot/initrd.img-$kernel" "/boot/initramfs-$kernel.img"; do
            [ ! -e "$image" ] || [ ! "$BLACKLIST" -nt "$image" ] || stale=yes
        done
    done
    [ -n "${stale:-}" ] || return 0
    say "rebuilding the initramfs without nouveau"
    $INITRAMFS >"$work/initramfs" 2>&1 || { tail -n 5 "$work/initramfs" >&2; return 1; }
}
