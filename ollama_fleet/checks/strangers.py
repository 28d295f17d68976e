"""What nobody asked for: other servers of Ollama and their units, other model stores, models in ours that
no slice names."""

from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.processes import group_of, read_groups, read_users
from ollama_fleet.checks.requests import documents
from ollama_fleet.checks.units import STOCK, unit_states
from ollama_fleet.checks.wording import listed, plain
from ollama_fleet.planner.plan import LOADER_UNIT, MODELS_DIR, HostPlan
from ollama_fleet.questions import Slow
from ollama_fleet.store import parse_name
from ollama_fleet.templating import MARKER

HOST = "host"
UNIT_FILES, SERVERS, STORES = "drift.unit-files", "drift.servers", "drift.stores"
_FOLDERS = (
    *("/etc/systemd/system", "/run/systemd/system", "/run/systemd/transient"),
    *("/usr/local/lib/systemd/system", "/usr/lib/systemd/system"),
)
# Downloads and the firewall's trial are units that systemd makes for us; a stock unit is told apart.
_UNIT_FILES = f"""set --
for folder in {" ".join(_FOLDERS)}; do
    for file in "$folder"/ollama*; do
        case ${{file##*/}} in ollama.service | ollama-fetch-* | ollama-firewall-undo.*) continue ;; esac
        case $file in *.service | *.socket | *.timer | *.path | *.target | *.mount) ;; *) continue ;; esac
        [ ! -f "$file" ] || set -- "$@" "$file"
    done
done
[ $# -eq 0 ] || grep -LsF '{MARKER}' "$@"; true"""
# Only names are read of processes that are none: arguments may hold anything.
_SERVERS = """set --
for place in /proc/[0-9]*; do
    { read -r name <"$place/comm"; } 2>/dev/null || continue
    [ "$name" != ollama ] || set -- "$@" "$place/cmdline"
done
[ $# -gt 0 ] || exit 0
set -- $(grep -lszx serve "$@" | sed 's|/cmdline$||')
[ $# -gt 0 ] || exit 0
stat -c 'user %n %U' "$@"
for place; do set -- "$@" "$place/cgroup"; shift; done
grep -sH . "$@"; true"""
# A home that is elsewhere on the network may not answer; nobody is kept waiting for that.
_STORES = """homes='/home/*'
! grep -qsE '^[^ ]+ /home[^ ]* (nfs|autofs|cifs|fuse)' /proc/self/mounts || homes=
set --
for home in /usr/share/ollama /root /var/snap/ollama/common $homes; do
    for place in "$home/.ollama/models" "$home/models"; do
        [ ! -d "$place/blobs" ] || set -- "$@" "$place"
    done
done
"""
# The inventory may have moved the store.
_OLD_STORE = f'[ ! -d {MODELS_DIR}/blobs ] || set -- "$@" {MODELS_DIR}\n'
_SIZES = '[ $# -eq 0 ] || timeout 5 du -sk --apparent-size -- "$@" 2>/dev/null; true'
# Folders that an idle `ollama` makes are no store.
LEAST_KIB = 1024


def _questions(plan: HostPlan) -> dict[str, str]:
    stores = _STORES if plan.store.path == MODELS_DIR else f"{_STORES}{_OLD_STORE}"
    asked = {UNIT_FILES: _UNIT_FILES, SERVERS: _SERVERS, STORES: stores + _SIZES}
    return {name: Slow(text) for name, text in asked.items()}


def _units(subject: Subject) -> Iterator[CheckResult]:
    if UNIT_FILES not in subject.answers:
        return
    found = [plain(path) for path in subject.answers[UNIT_FILES].lines]
    starts = unit_states(subject).get(STOCK, {}).get("UnitFileState") == "enabled"
    if starts:
        found.insert(0, f"{STOCK} starts at boot and would take every GPU")
    yield subject.result(
        HOST,
        "strange units",
        good=not found,
        expected="no units of Ollama but ours",
        found=listed(found) if found else "none",
        remedy=f"deploy again: it disables {STOCK}"
        if starts
        else "`systemctl cat` shows what they do; `systemctl disable --now` them and remove their files",
        warns=not starts,
    )


def _servers(subject: Subject) -> Iterator[CheckResult]:
    """Whether one takes memory that a slice needs is told by the processes on its GPUs."""
    if SERVERS not in subject.answers:
        return
    text = subject.text(SERVERS)
    users = read_users(text)
    planned = {LOADER_UNIT, *(item.unit for item in subject.plan.slices)}
    groups = {pid: group_of(path) for pid, path in sorted(read_groups(text).items())}
    found = [
        f"pid {pid}, {users.get(pid, '?')}, {group}"
        for pid, group in groups.items()
        if group not in planned
    ]
    yield subject.result(
        HOST,
        "other servers",
        good=not found,
        expected="no Ollama but the slices",
        found=listed(found) if found else "none",
        remedy="stop it where it comes from (`systemctl status PID`, `docker ps`): it sees every GPU; or "
        "give it a GPU of its own with `reserved:`",
        warns=True,
    )


def _stores(subject: Subject) -> Iterator[CheckResult]:
    if STORES not in subject.answers:
        return
    rows = [line.split(maxsplit=1) for line in subject.answers[STORES].lines]
    sizes = {row[1]: int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit()}
    found = [
        f"{plain(path)}: {kib / 2**20:.1f} GiB"
        for path, kib in sizes.items()
        if path != subject.plan.store.path and kib >= LEAST_KIB
    ]
    yield subject.result(
        HOST,
        "other stores",
        good=not found,
        expected=f"models in {subject.plan.store.path} only",
        found=listed(found) if found else "none",
        remedy="remove what nobody uses: it takes room that models need",
        warns=True,
    )


def _unlisted(subject: Subject) -> Iterator[CheckResult]:
    """All slices have the same store, so the first that answers tells what is in it."""
    answers = documents(subject.text("api"))
    tags = [answers.get(f"{item.url}/api/tags", {}).get("models") for item in subject.plan.slices]
    stored = next((models for models in tags if models), None)
    if stored is None:
        return
    names = {parse_name(str(model.get("name"))).shortest for model in stored}
    wanted = {parse_name(model).shortest for model in subject.plan.models}
    absent = {parse_name(model).shortest for model in subject.plan.store.absent}
    extra = sorted(plain(name) for name in names - wanted)
    keeps = subject.plan.store.keep_unlisted and not absent & names
    yield subject.result(
        HOST,
        "unlisted models",
        good=keeps or not extra,
        expected="the listed models and no others",
        found=listed(extra) if extra else "none",
        remedy="deploy again: it removes them",
    )


CHECKS = (
    Check("strange units", _units, _questions),
    Check("other servers", _servers),
    Check("other stores", _stores),
    Check("unlisted models", _unlisted),
)
