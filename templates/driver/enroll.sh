# The key that DKMS signs with, on its way into the firmware of a host with Secure Boot.
enroll() { # returns only when the firmware knows the key
    pm_commands mokutil mokutil dkms dkms
    if [ ! -e "$MOK" ]; then
        if command -v update-secureboot-policy >/dev/null; then
            update-secureboot-policy --new-key >/dev/null
        else
            dkms generate_mok >/dev/null
        fi
    fi
    [ -e "$MOK" ] || fail "dkms made no signing key $MOK; the driver is unchanged"
    case $(mokutil --test-key "$MOK" 2>&1) in
    *'already enrolled'*) return 0 ;;
    # It would keep the password of the request before, which nobody has any more.
    *'enrollment request'*) mokutil --revoke-import >/dev/null 2>&1 || : ;;
    esac
    # Good for this one request, at the console of this one machine.
    password=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
    printf '%s\n%s\n' "$password" "$password" | mokutil --import "$MOK" >"$work/mokutil" 2>&1 ||
        fail "mokutil cannot ask the firmware to enrol $MOK: $(tail -n 1 "$work/mokutil"); the driver is unchanged"
    fail "Secure Boot: this host's driver key waits for somebody at its console. Reboot it, and in the blue
MOK management screen choose Enroll MOK, Continue, Yes, with the password $password, then Reboot; after
that run again. The driver is unchanged"
}
