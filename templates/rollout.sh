# Functions of a change script that takes slices out of service and back; `say` and `fail` are its prelude's.
# Above: STORE (the model store), LOAD_S (most seconds for a load or an answer), KEPT (where files are kept
# as they were).

keep() { # keep PATH...: as they are before anything is written
    for path; do
        [ -f "$path" ] || continue
        mkdir -p "$KEPT${path%/*}" && cp -p "$path" "$KEPT$path" ||
            fail "cannot keep $path (is /run full?); nothing was changed"
    done
}

put_back() { # put_back PATH...: as they were, or not there
    for path; do
        if [ -f "$KEPT$path" ]; then
            cp -p "$KEPT$path" "$path.fleet-new" && mv -fT "$path.fleet-new" "$path" || echo "cannot put $path back" >&2
        else
            rm -f "$path"
        fi
    done
}

bad() { # bad WORDS: why a check fails; the last ones are said at the end, too
    cause=$*
    echo "$cause" >&2
}

journal() { # journal UNIT: its last words, since it was started last
    echo "the last words of $1:" >&2
    journalctl --unit "$1" --lines 15 --no-pager --output cat >&2 || :
}

begin() { # begin UNIT...: start them; those that do not start say why
    systemctl reset-failed "$@" 2>/dev/null || :
    systemctl start "$@" 2>/dev/null && return
    systemctl is-failed --quiet "$DEVICES_UNIT" && journal "$DEVICES_UNIT"
    for unit; do
        systemctl is-active --quiet "$unit" || { bad "$unit does not start"; journal "$unit"; }
    done
    return 1
}

warm_up() { # warm_up UNIT: loads what the slice loads ahead, and waits for it
    systemctl reset-failed "$1" 2>/dev/null || :
    systemctl start "$1" 2>/dev/null || :
    waited=0
    while state=$(systemctl show -p ActiveState --value "$1"); do
        case $state in active | activating | deactivating | reloading) ;; *) break ;; esac
        [ "$waited" -lt "$LOAD_S" ] || { bad "$1 still loads after $LOAD_S s"; return 1; }
        [ "$waited" -ne 10 ] || say "waiting for $1"
        sleep 1
        waited=$((waited + 1))
    done
    [ "$state" != failed ] && return
    journal "$1"
    bad "$(journalctl --unit "$1" --lines 30 --no-pager --output cat | grep 'cannot be loaded' | tail -n 1)"
    [ -n "$cause" ] || bad "$1 failed"
    return 1
}

post() { # post URL BODY: the answer is in $answer
    answer=$(curl --noproxy '*' -sS --max-time "$LOAD_S" "$1" -d "$2" 2>&1)
}

answers() { # answers PORT MODEL: one token, or an embedding, from a GPU
    url=http://127.0.0.1:$1/api
    post "$url/generate" "{\"model\":\"$2\",\"prompt\":\"Are you there?\",\"stream\":false,\"think\":false,\"options\":{\"num_predict\":1}}" || :
    case $answer in
    *'does not support'*) post "$url/embed" "{\"model\":\"$2\",\"input\":\"Are you there?\"}" || : ;;
    esac
    case $answer in
    *'"done":true'* | *'"embeddings":'*) ;;
    *) bad "$2 does not answer: $(printf '%s' "${answer:-nothing came}" | head -c 300)"; return 1 ;;
    esac
    curl --noproxy '*' -fsS --max-time 15 "$url/ps" | tr ',{' '\n\n' | grep -q '"size_vram": *[1-9]' ||
        { bad "$2 is in RAM, not on a GPU"; return 1; }
}

prove() { # prove UNIT PORT WARM-UNIT MODEL MANIFEST (- where there is none): it serves as it should
    if [ "$3" != - ]; then warm_up "$3" || return 1; fi
    if [ "$4" = - ] || [ ! -s "$STORE/manifests/$5" ]; then
        [ "$4" = - ] || say "$4 is not in the store yet: ${1%.service} is proved at the end"
        curl --noproxy '*' -fsS --max-time 15 -o /dev/null "http://127.0.0.1:$2/api/version" ||
            { bad "$1 does not answer"; journal "$1"; return 1; }
        return 0
    fi
    say "${1%.service}: asking $4"
    answers "$2" "$4" || { journal "$1"; return 1; }
}

prove_as_before() { # prove_as_before UNIT PORT WARM-UNIT: with what it has in memory, for nobody knows its plan
    if [ -f "$UNITS/$3" ]; then warm_up "$3" || return 1; fi
    model=$(curl --noproxy '*' -fsS --max-time 15 "http://127.0.0.1:$2/api/ps" 2>&1) ||
        { bad "$1 does not answer"; journal "$1"; return 1; }
    model=$(printf '%s' "$model" | tr -d '\n' | sed -nE 's/^[^[]*\[ *\{ *"name": *"([^"]+)".*/\1/p')
    [ -z "$model" ] || answers "$2" "$model" || { journal "$1"; return 1; }
}

back() { # back N: from group N on backwards, everything is as it was before this script
    echo "$refused did not pass its check; going back to what was before" >&2
    wrong='' first=$cause
    put_back $COMMON
    systemctl daemon-reload
    number=$1
    while [ "$number" -gt 0 ]; do
        "undo_$number" || wrong="$wrong $failed"
        number=$((number - 1))
    done
    rm -rf "$KEPT"
    [ -z "$wrong" ] || fail "$refused: $first; what was before is back, but not well:$wrong ($cause)"
    fail "$refused: $first; what was before is back, and serves"
}
