# The change itself: everything is fetched and checked while the old driver still serves.
later=no
driverless=no # whether slices wait for a driver

prepare() {
    pm_repair
    [ -e "$SOURCE" ] || : >"$work/new-source"
    pm_repository
    [ "$ENROLL" = no ] || enroll
    choose_branch
    pick
    pick_fabric
    say "driver $version with the $FLAVOUR kernel modules: $packages"
    headers
    [ "$UPGRADE" = no ] || pm_snapshot
    # Another source's driver may be in the way of that; it goes first.
    [ "$REPLACE" = yes ] || pm_try --simulate || fail "the packages of driver $version cannot be installed together (on Debian: is \`contrib\` in the sources?); the driver is unchanged"
    say "fetching it"
    pm_try --download-only || fail "the packages of driver $version cannot be fetched $(report_proxy); the driver is unchanged"
    way_back=no
    if [ "$UPGRADE" = yes ]; then
        if [ -s "$work/before" ] && pm_way_back; then way_back=yes; else say 'if this driver fails, there is no way back to the old one'; fi
    fi
}

free_gpus() { # unloads the old driver, or leaves that to a reboot where one is allowed
    # Where none is loaded slices wait for one, and would start with half of it.
    loaded || { driverless=yes; drain_slices; return 0; }
    # A slice that started without the fabric manager serves from the CPU, and goes on doing so.
    [ "$UNLOAD" = yes ] || { [ "$FABRIC" = no ] || drain_slices; return 0; }
    others=$(strangers)
    if [ -n "$others" ]; then
        [ "$MAY_REBOOT" = yes ] || fail "these hold the GPUs and are not ours to stop: $(echo $others). Stop them, or allow \`reboot: auto\`; the driver is unchanged"
        later=yes
    fi
    drain_slices
    stop_family
    [ "$later" = no ] || return 0
    unload && return 0
    if [ "$MAY_REBOOT" = yes ]; then
        later=yes
        return 0
    fi
    start_family
    resume_slices
    fail 'the old driver cannot be unloaded; allow `reboot: auto`, or reboot the host yourself and run again. The driver is unchanged'
}

replace_packages() {
    : >"$work/begun"
    # First, for by these a next run knows that this one was at work, should it be cut off.
    write_settings || return 1
    [ "$REPLACE" = no ] || { say "removing the driver of another source"; pm_purge || return 1; }
    pm_pin || { echo 'the version cannot be pinned' >&2; return 1; }
    say "installing driver $version"
    pm_install || { build_log; echo "the packages of driver $version cannot be installed" >&2; return 1; }
    check_modules && initramfs
}

go_on() { # a driver that waits for a boot is proved after it
    [ "$later" = no ] || { persistence; fabric; return 0; }
    start_up || return 1
    [ "$later" = no ] || return 0
    resume_slices && serving
}

keep_before() { # what a way back after the boot needs to know
    [ "$UPGRADE" = yes ] && [ "$way_back" = yes ] || return 0
    mkdir -p "${KEPT%/*}" && rm -rf "$KEPT.new" && mkdir -m 700 "$KEPT.new" || return 0
    for name in before pin-before locks-before stream-before; do
        [ ! -e "$work/$name" ] || cp "$work/$name" "$KEPT.new/"
    done
    [ "$MANAGED" = yes ] || : >"$KEPT.new/unmanaged"
    mv -T "$KEPT.new" "$KEPT"
}

# In a subshell, because a `fail` in it must not skip the way back; so -e does not hold in there.
change() { (replace_packages && go_on && { [ "$later" = no ] || : >"$work/later"; }); }

gone_on() { # gone_on WHY: those that waited for a driver wait again, whoever brings it; no other is to start with this one
    [ "$driverless" = no ] || (resume_slices) >/dev/null 2>&1 || :
    fail "$1"
}

back() {
    [ "$UPGRADE" = yes ] || gone_on "driver $version is not usable here; see above. Run again when the cause is gone"
    [ "$way_back" = yes ] || gone_on "driver $version does not work, and there is no way back to the old one; see above"
    old=$(grep -m 1 -oE '[0-9]{3}\.[0-9]+(\.[0-9]+)?' "$work/before")
    # What an upgrade left that was cut off is no driver to go back to.
    [ "$old" != "$version" ] || { driverless=yes; gone_on "driver $version is not usable here; see above. Run again when the cause is gone"; }
    say "driver $version does not work; going back to $old"
    failed=$version version=$old
    drain_slices
    stop_family
    unload || say 'the new driver cannot be unloaded'
    pm_back || fail "driver $failed does not work, and $old cannot be installed again either; see above"
    # For the running kernel: that this driver has no module for every other one may be as it was.
    [ "$(modinfo -k "$(uname -r)" -F version nvidia 2>/dev/null)" = "$old" ] || fail "driver $failed does not work, and $old is installed again, but not whole"
    [ "$MANAGED" = yes ] || forget_settings
    start_up && (resume_slices) || fail "driver $failed does not work; $old is installed again, but does not come up"
    fail "driver $failed does not work here (see above); driver $old is back and serves as before"
}

whole() { # the driver's packages, and everything around them
    rm -rf "$KEPT"
    prepare
    free_gpus
    change || back
    [ ! -e "$work/later" ] || { keep_before; say 'the new driver comes into use with the next boot'; }
}

back_after_boot() { # from a driver that a boot brought into use, and that does not work
    cp "$KEPT"/* "$work/"
    rm -rf "$KEPT"
    [ ! -e "$work/unmanaged" ] || MANAGED=no
    way_back=yes
    back
}

reload() { # what is installed is right, and another one is loaded, or none
    free_gpus
    [ "$MANAGED" = no ] || { write_settings && initramfs; }
    ([ "$later" = no ] || exit 0; start_up && resume_slices && serving) || gone_on "driver $version is installed and does not come up; see above"
}

only_fabric() { # of a driver that is right and may be somebody else's
    pm_repair
    [ -e "$SOURCE" ] || : >"$work/new-source"
    # Where the driver came otherwise our source is used this once: it would upgrade that, too.
    [ "$MANAGED" = yes ] || : >"$work/passing"
    pm_repository
    pick_fabric
    pm_try --simulate || fail "the fabric manager $version cannot be installed; nothing was changed"
    : >"$work/begun"
    drain_slices
    (pm_try && { [ "$MANAGED" = no ] || pm_lock; } && fabric) || { resume_slices; fail "the fabric manager $version is not installed, or does not run; see above"; }
    resume_slices
}
