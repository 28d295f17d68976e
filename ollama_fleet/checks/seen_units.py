"""Units as systemd has them and as they lie on the disk: one question, and its answer.

Of the files only times and marks are told, never what stands in them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ollama_fleet.templating import MARKER

# A line of a drop-in, as a comment with the reason behind it.
KEEP = "fleet: keep"
PROPERTIES = (
    *("Id", "LoadState", "ActiveState", "NeedDaemonReload", "FragmentPath", "DropInPaths"),
    "EnvironmentFiles",
)
SHOW = f"systemctl show -p {','.join(PROPERTIES)}"
# systemd makes this link anew at each start of a unit.
INVOCATION = "/run/systemd/units/invocation:"


@dataclass(frozen=True)
class UnitFiles:
    """A unit as systemd has it. `files` are environment files that have to be there."""

    name: str
    load: str = ""
    active: str = ""
    needs_reload: bool = False
    fragment: str = ""
    drop_ins: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """Units by name; when their files, and the links that their starts make, were written, in seconds;
    drop-ins that carry our mark and those that say that they may stay."""

    units: Mapping[str, UnitFiles] = field(default_factory=dict)
    times_s: Mapping[str, float] = field(default_factory=dict)
    marked: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()


def question(shown: str) -> str:
    """Shell about the units of which the command `shown` prints PROPERTIES. Of their files, only times and
    marks are told."""
    return f"""said=$({shown})
printf '%s\\n\\n' "$said"
set -f
drop_ins= files=
while read -r line; do
    case $line in
    DropInPaths=?*) drop_ins="$drop_ins ${{line#*=}}" ;;
    FragmentPath=*) files="$files ${{line#*=}}" ;;
    EnvironmentFiles=*' (ignore'*) line=${{line#*=}} && files="$files ${{line% (ignore*}}" ;;
    esac
done <<END
$said
END
# Drop-ins may be many, so each is looked at once.
set -- $drop_ins $files
set +f
stat -c '%.6Y %n' {INVOCATION}ollama* 2>/dev/null
stat -L -c '%.6Y %n' "$@" 2>/dev/null
[ -z "$drop_ins" ] || grep -soEH -e '{MARKER}' -e '^[#;].*{KEEP}' $drop_ins
true"""


def read_seen(text: str) -> Seen:
    """The answer to `question`."""
    units = [unit for block in text.split("\n\n") if (unit := _unit(block.splitlines()))]
    times = {path: float(time) for time, path in re.findall(r"^(\d+\.\d+) (/.+)$", text, re.M)}
    words = re.findall(r"^(/[^:\n]+):(.*)$", text, re.M)
    return Seen(
        {unit.name: unit for unit in units},
        times,
        frozenset(path for path, word in words if word == MARKER),
        frozenset(path for path, word in words if word.endswith(KEEP)),
    )


def _unit(lines: Iterable[str]) -> UnitFiles | None:
    rows = [line.partition("=")[::2] for line in lines if re.match(r"[A-Z]\w*=", line)]
    of = dict(rows)
    if not of.get("Id"):
        return None
    needed = [value for name, value in rows if name == "EnvironmentFiles"]
    found = [re.fullmatch(r"(.*) \(ignore_errors=no\)", value) for value in needed]
    return UnitFiles(
        of["Id"],
        of.get("LoadState", ""),
        of.get("ActiveState", ""),
        of.get("NeedDaemonReload") == "yes",
        of.get("FragmentPath", ""),
        tuple(of.get("DropInPaths", "").split()),
        tuple(match.group(1) for match in found if match),
    )
