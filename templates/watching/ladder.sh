# What to do next about a slice that does not serve. Pure: it asks nothing and changes nothing.
next_rung() { # next_rung CAUSE GPU TRIED LEFT RESETS
    # CAUSE hung, error or cpu; GPU well, lost or unknown; TRIED: rungs that did not help; LEFT: repairs that the
    # budget still has; RESETS: yes where its GPU may be reset. Prints unload, restart, reset, quarantine or alarm.
    case $2:$1 in
    unknown:*) echo alarm && return ;; # nvidia-smi itself hangs: whatever is stopped now may never end
    lost:*) rungs=reset ;;             # a server that starts without its GPU would serve from the CPU
    *:cpu) rungs="restart reset" ;;    # it found no GPU when it started
    *) rungs="unload restart reset" ;;
    esac
    [ "$4" -gt 0 ] || { echo quarantine && return; }
    for rung in $rungs; do
        case " $3 " in *" $rung "*) continue ;; esac
        [ "$rung" != reset ] || [ "$5" = yes ] || continue
        echo "$rung" && return
    done
    echo quarantine
}
