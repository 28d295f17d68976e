# Models of a person's own. Ollama makes them itself, through the loader, of files that lie in the store
# or of other models, under a name that nobody asks for; when one is whole, its manifest takes the place
# of the earlier one at once, and no server is left with the earlier weights in memory.
manifests=$store/manifests blobs=$store/blobs custom=$store/custom sound=$store/fetch/sound
api=http://127.0.0.1:$loader_port/api
new=registry.ollama.ai/ollama-fleet/new old=registry.ollama.ai/ollama-fleet/old
work=$(mktemp -d) making='' started=''
# The service user owns the store. Whatever is written, moved or removed there is so by that user: root would
# follow any link that lies there.
as_user() { setpriv --reuid="$user" --regid="$user" --init-groups "$@"; }
write() { as_user sh -c 'cat >"$0"' "$1"; }
append() { as_user sh -c 'cat >>"$0"' "$1"; }
folder() { as_user mkdir -p "$1"; }
clean_up() {
    systemctl stop "$loader"
    [ -z "$making" ] || forget_new || :
    as_user rm -f "$manifests/$new/latest" "$manifests/$old/latest"
    as_user sh -c 'cd "$0" && rmdir -p --ignore-fail-on-non-empty "$@"' "$manifests" "$new" "$old" 2>/dev/null || :
    rm -rf "$work"
}
start_loader() {
    [ -z "$started" ] || return 0
    started=yes
    systemctl restart "$loader" || fail "the model loader does not start: journalctl -u $loader"
    # What a creation that was cut off left: nothing else has such names.
    as_user find "$blobs" -maxdepth 1 -type f -regextype posix-extended ! -regex '.*/sha256-[0-9a-f]{64}' -delete
}
call() { curl --noproxy '*' -sS -H 'Content-Type: application/json' "$@"; }
hash_of() { sha256sum <"$1" | cut -d ' ' -f 1; }
size_of() { stat -c %s "$1" 2>/dev/null || echo 0; }
blobs_of() { "$fetch" blobs "$1"; }
is_whole() { # is_whole BLOB: it is as it was when it was hashed
    line=$(find "$blobs" -name "$1" -printf '%f %s %T@\n')
    [ -n "$line" ] && grep -qsxF -e "$line" "$sound"
}
note() { find "$blobs" -name "$1" -printf '%f %s %T@\n' | append "$sound"; }
layers() { # layers MANIFEST KINDS: digests of its layers of these kinds
    tr -d '\n' <"$1" | tr '{}' '\n\n' | grep -E "ollama\.image\.($2)\"" | grep -o 'sha256:[0-9a-f]*' | cut -d : -f 2
}
in_memory() { layers "$1" 'model|projector|adapter|draft' | sort; }
named() { # digests that manifests name, the one of a model that is being made aside
    find "$manifests" -type f ! -path "$manifests/$new/*" -exec grep -oh 'sha256:[0-9a-f]*' {} + | cut -d : -f 2 | sort -u
}
needs_room() { # needs_room NAME BYTES
    free=$(df -PB1 "$store" | awk 'END { print $4 }')
    [ "$2" -le "$free" ] || fail "$1: needs $(($2 / 1000000)) MB more, and $((free / 1000000)) MB are free at $store (Ollama writes the file anew); make room, or set \`models: {path: …}\`"
}

# --- What a model is made of ---
usable() { # usable SHA256: the blob to take for a file: itself, or what Ollama made of it before
    for hex in "$1" $(cat "$custom"/* 2>/dev/null | sed -n "s/^source $1 //p"); do
        ! is_whole "sha256-$hex" || { echo "$hex"; return 0; }
    done
    return 1
}
take_in() { # take_in SHA256 FROM: what was put beside the store's blobs becomes one of them
    file=$custom/.incoming-sha256-$1
    found=$(hash_of "$file")
    [ "$found" = "$1" ] || { as_user rm -f "$file"; fail "$name: the sha256 of $2 is $found and not $1; $unchanged"; }
    as_user chmod 644 "$file" && as_user mv -fT "$file" "$blobs/sha256-$1" && note "sha256-$1"
}
find_source() { # find_source KIND WHERE SHA256: sets `source`, `blob`, and `seen` of a file of the host
    source=$3
    case $1 in
    host)
        [ -f "$2" ] || fail "$name: $2 is no file on this host; put it there, or correct the inventory"
        seen=$(stat -c '%s %.9Y %i' "$2")
        [ "$source" != - ] || { say "hashing $2"; source=$(hash_of "$2"); }
        if ! usable "$source" >/dev/null; then
            needs_room "$name" "$(size_of "$2")"
            say "copying $2"
            # Root may have to read it for the user.
            as_user cp --reflink=auto -- "$2" "$custom/.incoming-sha256-$source" 2>/dev/null ||
                write "$custom/.incoming-sha256-$source" <"$2" || fail "$name: cannot copy $2; $unchanged"
            take_in "$source" "$2"
        fi ;;
    file)
        if ! usable "$source" >/dev/null; then
            [ -f "$custom/.incoming-sha256-$source" ] || fail "$name: $2 has not arrived; run again"
            take_in "$source" "what arrived of $2"
        fi ;;
    esac
    blob=$(usable "$source") || fail "$name: the file of $2 is not in the store; run again"
}

# --- Making it ---
ask_ollama() { # ask_ollama: the request in $work/request. Errors come inside a 200, and before a success.
    call -N --max-time 86400 --data-binary @"$work/request" "$api/create" >"$work/stream" 2>&1 &
    ticks=0
    while sleep 0.2; kill -0 $! 2>/dev/null; do
        ticks=$((ticks + 1))
        [ $((ticks % 25)) -ne 0 ] || say "  $(tail -n 1 "$work/stream" | sed -n 's/.*"status": *"\([^"]*\)".*/\1/p')"
    done
    wait $! || :
    why=$(sed -n -E 's/.*"error": *"(([^"\\]|\\.)*)".*/\1/p' "$work/stream" | head -n 1)
    [ -z "$why" ] || fail "$name: Ollama cannot make it: $why; $unchanged"
    case $(tail -n 1 "$work/stream") in
    *'"status":"success"'* | *'"status": "success"'*) ;;
    *) fail "$name: Ollama did not finish making it (see journalctl -u $loader): $(tail -n 1 "$work/stream" | tail -c 300); $unchanged" ;;
    esac
    [ -f "$manifests/$new/latest" ] && [ -n "$(layers "$manifests/$new/latest" model)" ] || fail "$name: Ollama made no model with weights; $unchanged"
}
forget_new() { # what a creation has written that failed
    sed 's/^sha256-\([0-9a-f]*\) .*/\1/' "$work/before" | sort - >"$work/kept"
    named | sort -u - "$work/kept" -o "$work/kept"
    find "$blobs" -name 'sha256-*' -printf '%f\n' | cut -d - -f 2 | sort | comm -23 - "$work/kept" | while read -r hex; do
        as_user rm -f "$blobs/sha256-$hex"
    done
}
settle() { # settle SHA256 SIZE: a blob of the new model is known as sound
    file=$blobs/sha256-$1
    [ "$(size_of "$file")" = "$2" ] || fail "$name: sha256-$1 is not whole (is the disk full?); $unchanged"
    ! is_whole "sha256-$1" || return 0
    # Ollama sets the time of what it goes on using to now; that alone is no reason to read it again.
    line=$(grep "^sha256-$1 $2 " "$work/before") || line=
    if [ -n "$line" ] && grep -qsxF -e "$line" "$sound"; then
        as_user touch -m -d "@${line##* }" "$file"
        return 0
    fi
    [ "$(hash_of "$file")" = "$1" ] || fail "$name: sha256-$1 is broken; $unchanged"
    note "sha256-$1"
}
said() { sed -n "s/^$1 //p" "$stamp" 2>/dev/null; }
is_made() { # what was asked for is there, of this very file
    [ "$(said definition)" = "$definition" ] && [ -f "$here" ] && [ "$(said manifest)" = "$(hash_of "$here")" ] || return 1
    case $(said source) in "$source "*) ;; *) return 1 ;; esac
    blobs_of "$here" >"$work/blobs"
    while read -r hex _; do is_whole "sha256-$hex" || return 1; done <"$work/blobs"
}
write_stamp() {
    {
        echo "path $path"
        echo "definition $definition"
        echo "manifest $(hash_of "$here")"
        [ -z "$source" ] || echo "source $source $(layers "$here" model | head -n 1)"
        [ -z "$seen" ] || echo "seen $seen"
        [ -z "$base" ] || echo "base $base"
    } | write "$custom/.stamp"
    as_user mv -fT "$custom/.stamp" "$stamp"
}
make() { # make NAME PATH DEFINITION KIND WHERE SHA256 REQUEST: WHERE is a manifest's path for kind `from`
    name=$1 path=$2 definition=$3 source='' seen='' base='' blob=''
    here=$manifests/$path key=$(echo "$1" | tr / +)
    stamp=$custom/$key
    : >"$work/freed"
    unchanged="nothing of it is on this host yet"
    [ ! -f "$here" ] || unchanged="the one that is here still serves"
    echo "$7" | base64 -d >"$work/request"
    if [ "$4" = from ]; then
        [ -f "$manifests/$5" ] || fail "$name: what it is made from is not in the store; run again"
        base=$(hash_of "$manifests/$5")
        start_loader
    else
        find_source "$4" "$5" "$6"
        # One that was tried and failed goes when another has become the model.
        [ "$(cat "$custom/.source-$key" 2>/dev/null)" = "$source" ] || echo "$source" | append "$custom/.source-$key"
        if [ "$4" = host ] && is_made; then collect; write_stamp; return 0; fi
        start_loader
        needs_room "$name" $((2 * $(size_of "$blobs/sha256-$blob")))
        call -f --head --max-time 60 -o /dev/null "$api/blobs/sha256:$blob" || fail "$name: the loader does not see sha256-$blob; $unchanged"
        { printf '{"files":{"weights.gguf":"sha256:%s"},' "$blob"; tail -c +2 "$work/request"; } >"$work/whole"
        mv "$work/whole" "$work/request"
    fi
    say "making $name"
    find "$blobs" -name 'sha256-*' -printf '%f %s %T@\n' >"$work/before"
    as_user rm -f "$manifests/$new/latest"
    making=yes
    ask_ollama
    blobs_of "$manifests/$new/latest" >"$work/blobs"
    while read -r hex size; do settle "$hex" "$size"; done <"$work/blobs"
    switch
    making=
    retire
    collect
    write_stamp
    warm
}

# --- Putting it into service ---
switch() { # the new manifest in the place of the earlier one, which is kept until no server needs it
    if [ -f "$here" ]; then
        blobs_of "$here" >"$work/freed"
        if [ "$(in_memory "$here")" != "$(in_memory "$manifests/$new/latest")" ]; then
            as_user cp "$here" "$custom/.old"
            as_user mv -fT "$custom/.old" "$custom/.old-$key-$(hash_of "$here" | cut -c 1-16)"
        fi
    fi
    folder "${here%/*}" && as_user mv -fT "$manifests/$new/latest" "$here" || fail "$name: cannot write $here; $unchanged"
}
is_stale() { # is_stale PORT: a server has an earlier model of this name in memory
    call --max-time 10 "http://127.0.0.1:$1/api/ps" 2>/dev/null | tr '{}' '\n\n' |
        grep -F "\"name\":\"$name\"" | grep -qvF "\"digest\":\"$(hash_of "$here")\""
}
retire() { # with other parameters alone, a server takes the new ones at its next request by itself
    stale=
    set -- "$custom/.old-$key-"*
    [ -f "$1" ] || return 0
    for server in $servers; do
        ! is_stale "${server%%:*}" || stale="$stale $server"
    done
    [ -z "$stale" ] || say "unloading the earlier $name"
    for file; do
        folder "$manifests/$old" && as_user cp "$file" "$manifests/$old/latest"
        for server in $servers; do
            call --max-time 60 -o /dev/null "http://127.0.0.1:${server%%:*}/api/generate" \
                -d '{"model":"ollama-fleet/old","keep_alive":0}' 2>/dev/null || :
        done
    done
    # Who answers right now goes on to the end.
    for server in $stale; do
        waited=0
        while is_stale "${server%%:*}" && [ "$waited" -lt $((5 * drain_timeout_s)) ]; do
            sleep 0.2
            waited=$((waited + 1))
        done
        ! is_stale "${server%%:*}" || {
            say "${server#*:} holds on to the earlier $name; restarting it"
            systemctl restart "${server#*:}"
        }
    done
    for file; do blobs_of "$file" >>"$work/freed"; done
    as_user rm -f "$manifests/$old/latest" "$@"
}
collect() { # blobs that no model names any more, and the file itself where Ollama wrote it anew
    cat "$custom/.source-$key" 2>/dev/null >>"$work/freed" || :
    as_user rm -f "$custom/.source-$key"
    named >"$work/used"
    cut -d ' ' -f 1 "$work/freed" | sort -u | comm -23 - "$work/used" | while read -r hex; do
        as_user rm -f "$blobs/sha256-$hex"
    done
}
warm() { # who had it in memory has it again
    for server in $stale; do
        url=http://127.0.0.1:${server%%:*}/api
        answer=$(call --max-time "$load_timeout_s" "$url/generate" -d "{\"model\":\"$name\"}" 2>&1) || :
        case $answer in
        *'does not support'*) answer=$(call --max-time "$load_timeout_s" "$url/embed" -d "{\"model\":\"$name\",\"input\":\"-\"}" 2>&1) || : ;;
        esac
        case $answer in *'"error"'*) fail "$name: ${server#*:} cannot load it: $(echo "$answer" | tail -c 300)" ;; esac
    done
}

tidy_up() { # tidy_up NAME: what was tried for it is not wanted any more, it is what it was
    key=$(echo "$1" | tr / +)
    : >"$work/freed"
    collect
}

# Whoever downloads or looks through the store puts blobs there as well, and tidies up: one at a time.
systemctl stop ollama-scrub.service 2>/dev/null || :
as_user touch "$store/fetch/lock" "$sound"
exec 6<"$store/fetch/lock"
flock -w 3600 6 || fail "another download into $store has gone on for an hour; wait for it, then run again"
trap clean_up EXIT
