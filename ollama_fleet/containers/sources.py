"""Package sources of the toolkit that somebody else left on a host: found, and taken out of use: shell.

Two keys for one repository stop apt altogether. Only what is in force counts: a comment, a list of
packages to leave out or a source that is switched off names no repository. A file goes as a whole only
where it holds nothing else; it may be the distribution's own with one line more.
"""

import shlex
from collections.abc import Mapping

# What is to be done with a file: all of it put aside, its lines commented out, or left to a person.
ASIDE, LINES, PERSON = "aside", "lines", "person"
FILES = (
    *(
        "/etc/apt/sources.list",
        "/etc/apt/sources.list.d/*.list",
        "/etc/apt/sources.list.d/*.sources",
    ),
    "/etc/yum.repos.d/*.repo",
)
_NAMES = "nvidia-docker|libnvidia-container|nvidia-container-runtime"

# awk for each kind of file: prints for every address in force whether it is the toolkit's (1) or not (0).
_LINE = f"""{{
    entry = $0
    sub(/\\[[^]]*\\]/, "", entry)
    sub(/#.*/, "", entry)
    split(entry, field)
    is_source = field[1] ~ /^deb(-src)?$/
    is_ours = is_source && field[2] ~ /{_NAMES}/
}}"""
_LINES = f"{_LINE}\nis_source {{ print is_ours }}"
_ADDRESSES = f"""function finish(   count, address, i) {{
    count = off ? 0 : split(addresses, address)
    for (i = 1; i <= count; i++) print (address[i] ~ /{_NAMES}/)
    addresses = name = ""
    off = 0
}}
name == "enabled" {{ off = tolower($0) ~ /^[ \\t]*(0|no|false|off|without|disable)[ \\t]*$/ }}
END {{ finish() }}"""
_STANZAS = f"""/^#/ {{ next }}
/^[ \\t]*$/ {{ finish(); next }}
/^[^ \\t]/ {{ name = tolower($0); sub(/[ \\t]*:.*/, "", name); sub(/^[^:]*:/, "") }}
name == "uris" {{ addresses = addresses " " $0 }}
{_ADDRESSES}"""
# A section without an address (a list of mirrors, say) is somebody else's.
_SECTIONS = f"""/^[ \\t]*([#;]|$)/ {{ next }}
/^\\[/ {{ finish(); addresses = /^\\[main\\]/ ? "" : "-"; next }}
/^[^ \\t]/ {{ name = tolower($0); sub(/[ \\t]*=.*/, "", name); sub(/^[^=]*=/, "") }}
name == "baseurl" {{ gsub(/,/, " "); addresses = (addresses == "-" ? "" : addresses) " " $0 }}
{_ADDRESSES}"""


def question(own: tuple[str, ...], files: tuple[str, ...] = FILES) -> str:
    """Shell that prints `<what is to be done> <path>` for each of `files` (patterns) that names a
    repository of the toolkit, but for our `own`."""
    ours = " ".join(f"-e {path}" for path in own)
    return f"""grep -lE '{_NAMES}' {" ".join(files)} 2>/dev/null | grep -vxF {ours} |
while read -r file; do
    mixed={PERSON}
    case $file in
    *.list) mixed={LINES} whose=$(awk '{_LINES}' "$file") ;;
    *.sources) whose=$(awk '{_STANZAS}' "$file") ;;
    *) whose=$(awk '{_SECTIONS}' "$file") ;;
    esac
    case $whose in
    *0*1* | *1*0*) echo "$mixed $file" ;;
    *1*) echo "{ASIDE} $file" ;;
    esac
done
true"""


def read(lines: list[str]) -> dict[str, str]:
    """Path to what is to be done with it, of what `question` printed."""
    rows = [line.split(maxsplit=1) for line in lines]
    return {row[1]: row[0] for row in rows if len(row) == 2}


def problems(found: Mapping[str, str]) -> list[str]:
    """Files that only a person can take apart, each with what to do."""
    return [
        f"{path} names the container toolkit's repository among others, and the repository may be there "
        "once only; switch it off in that file (`Enabled: no`, `enabled=0`) or move it to a file of its "
        "own, and run again; nothing was changed"
        for path, what in found.items()
        if what == PERSON
    ]


def away_steps(found: Mapping[str, str]) -> list[str]:
    """Shell that takes them out of use; a name that ends in .disabled is read by nobody."""
    steps = {
        ASIDE: """    say "putting aside $file: it names the toolkit's repository with a key of its own"
    mv -f "$file" "$file.disabled\"""",
        LINES: f"""    say "commenting out the toolkit's repository in $file: it has a key of its own"
    file=$(readlink -f "$file")
    awk '{_LINE}
is_ours {{ printf "# taken out by Ollama Fleet: " }}
{{ print }}' "$file" >"$file.fleet-new"
    chmod --reference="$file" "$file.fleet-new"
    chown --reference="$file" "$file.fleet-new"
    mv -fT "$file.fleet-new" "$file\"""",
    }
    return [
        f"for file in {' '.join(map(shlex.quote, paths))}; do\n{body}\ndone"
        for what, body in steps.items()
        if (paths := [path for path, wanted in found.items() if wanted == what])
    ]
