"""What of ours is on a host: one question, whose answer is a line for each thing that is there."""

import shlex

from ollama_fleet.firewall.rules import TABLE
from ollama_fleet.mig.layout import LAYOUT_FILE
from ollama_fleet.planner.plan import HOME_DIR, USER
from ollama_fleet.removal import places
from ollama_fleet.templating import MARKER, UNIT_DIR

# Whoever can write to the manifest's folder (the service user) must not be able to name files for
# root to delete: what is not root's own file is not read.
_MANIFEST = f"""
manifest={places.MANIFEST}
if [ -f $manifest ] && [ ! -L $manifest ] && [ "$(stat -c %u $manifest)" = 0 ]; then
    listed=$(cut -c 67- $manifest)
    sha256sum -c $manifest 2>/dev/null | sed -nE 's/^(.*): OK$/intact \\1/p; s/^(.*): FAILED$/changed \\1/p'
    grep -lsF '{MARKER}' $listed /dev/null | sed 's/^/file /'
    for path in $listed; do
        there original "$path.before-fleet"
    done
fi
"""
_LOOK = f"""
there() {{ # there KIND PATH...: a line for each that is there
    kind=$1
    shift
    for path; do
        if [ -e "$path" ] || [ -L "$path" ]; then echo "$kind $path"; fi
    done
}}
grep -lsF '{MARKER}' {" ".join(places.MARKED)} | grep -v '\\.before-fleet$' | sed 's/^/file /'
find {" ".join(places.COMMANDS)} -maxdepth 1 -type f -size -64k \\
    -exec grep -lsF '{MARKER}' {{}} + 2>/dev/null | sed 's/^/file /'
there file {" ".join(places.STAGED)}
there original {" ".join(places.ORIGINALS)}
{_MANIFEST}
for link in /usr/local/bin/* /usr/local/sbin/* {places.PREFIX}/current; do
    [ -L "$link" ] || continue
    case $(readlink "$link") in {places.PREFIX}/*) echo "file $link" ;; esac
done
for link in {UNIT_DIR}/*.wants/ollama* {UNIT_DIR}/*.requires/ollama*; do
    [ ! -L "$link" ] || [ -e "$link" ] || echo "file $link"
done
for prefix in {places.PREFIX}/*; do
    [ -L "$prefix" ] || [ ! -f "$prefix/.sha256" ] || echo "release $prefix"
done
there staged {places.PREFIX}/*.fleet-new {places.PREFIX}/*.fleet-old {places.PREFIX}/incoming
find {places.PREFIX}/download -maxdepth 1 -type f -regextype posix-extended \\
    -regex '.*/[0-9a-f]{{64}}(\\.part|\\.fleet-new)?' 2>/dev/null | sed 's/^/file /'
for folder in {" ".join(places.FOLDERS)}; do
    [ -d "$folder" ] && [ ! -L "$folder" ] || continue
    [ -n "$(ls -A "$folder")" ] || echo "empty $folder"
done
there state {" ".join(places.STATE)}
there manifest $manifest
there run {" ".join(places.RUN_STATE)}
! nft list table inet {TABLE} >/dev/null 2>&1 || echo "firewall {TABLE}"
there fetch /run/systemd/transient/{places.FETCHING}
while IFS=: read -r name _ _ _ _ home _; do
    [ "$name $home" != '{USER} {HOME_DIR}' ] || echo "account {USER}"
done </etc/passwd
store=
for said in {places.TMPFILES} {places.STORE_NOTE}; do
    if [ -z "$store" ] && [ -f "$said" ] && [ ! -L "$said" ] && [ "$(stat -c %u "$said")" = 0 ]; then
        store=$(sed -nE 's#^d (/[A-Za-z0-9._/-]+)/blobs .*#\\1#p; s#^store (/[A-Za-z0-9._/-]+).*#\\1#p' \\
            "$said" | tail -n 1)
    fi
done
[ -n "$store" ] || [ ! -e $manifest ] || store=$planned
if [ -n "$store" ] && [ -e "$store" ]; then
    echo "store $store $(du -sb "$store" 2>/dev/null | cut -f1)"
fi
there note {places.STORE_NOTE}
! grep -sq -e '^cut ' -e '^set ' {LAYOUT_FILE} || echo "gpus set"
grep -sH 'OLLAMA_HOST=' {UNIT_DIR}/ollama-*.service |
    sed -nE 's|.*/(ollama-[^/:]*):.*:([0-9]+)"?$|port \\1 \\2|p'
[ "$(systemctl show -p LoadState --value ollama.service 2>/dev/null)" != loaded ] ||
    echo "stock $(systemctl show -p UnitFileState --value ollama.service)"
true"""


def questions(store: str) -> dict[str, str]:
    """What to ask; `store` is where the models are if the host itself does not say."""
    return {"removal.user": "id -u", "removal.ours": f"planned={shlex.quote(store)}\n{_LOOK}"}
