"""What of ours a host has, and what to say of it before and after it is taken away."""

from collections.abc import Iterable
from dataclasses import dataclass

from ollama_fleet.firewall.rules import UNIT as FIREWALL_UNIT
from ollama_fleet.planner.plan import DEVICES_UNIT, LOADER_UNIT, TARGET, Removal
from ollama_fleet.questions import Answers
from ollama_fleet.removal import places

GIB = 2**30


@dataclass(frozen=True)
class Found:
    """Everything of ours on a host.

    `files` go one by one, `originals` (whose names end in .before-fleet) go back to their places,
    `folders` go whole and those of `empty` as they are; `changed` are files of the manifest that are
    somebody else's by now. `ports` maps a slice's unit to where it listens. `store` is the folder of
    the models, None where there is none of ours; `is_note`: it was kept by an earlier removal.
    `has_firewall`: our table of nftables is in force.
    `stock`: what systemd says of a stock ollama.service, if there is one.
    """

    files: tuple[str, ...] = ()
    originals: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    fetching: bool = False
    account: bool = False
    ports: tuple[tuple[str, int], ...] = ()
    store: str | None = None
    store_bytes: int = 0
    is_note: bool = False
    has_manifest: bool = False
    has_run_state: bool = False
    sets_gpus: bool = False
    has_firewall: bool = False
    stock: str | None = None

    @property
    def units(self) -> tuple[str, ...]:
        """Our units, in the order in which they stop."""
        names = [path.rpartition("/")[2] for path in self.files if is_unit(path)]
        return tuple(sorted(names, key=lambda name: (_turn(name), name)))

    @property
    def slices(self) -> tuple[str, ...]:
        """Those that serve."""
        return tuple(name for name in self.units if name in dict(self.ports))

    def anything(self, removal: Removal) -> bool:
        """Whether something has to go for `removal`."""
        files = (self.files, self.originals, self.releases, self.folders, self.empty)
        rest = (
            self.fetching,
            self.account,
            self.has_manifest,
            self.has_run_state,
            self.has_firewall,
        )
        kept = self.is_note and (removal.models or self.store is None)
        return any((*files, *rest, kept))

    @property
    def is_settled(self) -> bool:
        """Whether a deploy came so far that account and store are ours; before, they may be anybody's."""
        known = (self.account, self.has_manifest, self.is_note)
        return any(known) or any(path in self.files for path in places.ACCOUNT_FILES)


# What would start others goes first, what others need goes last.
TRIGGERS = (".timer", ".path", ".socket")
LATER = (FIREWALL_UNIT, LOADER_UNIT, DEVICES_UNIT, TARGET)


def _turn(unit: str) -> int:
    return 0 if unit.endswith(TRIGGERS) else 2 if unit in LATER else 1


def is_unit(path: str) -> bool:
    """Whether a file of ours is a unit."""
    folder, _, name = path.rpartition("/")
    return folder == places.UNIT_DIR and name.endswith(tuple(f".{kind}" for kind in places.KINDS))


def read_found(answers: Answers) -> Found:
    """The answer to `questions`."""
    rows: dict[str, list[str]] = {}
    for line in answers["removal.ours"].lines:
        kind, _, rest = line.partition(" ")
        rows.setdefault(kind, []).append(rest)
    files = {*rows.get("file", ()), *rows.get("intact", ())}
    ports = [row.split() for row in rows.get("port", ())]
    store, _, size = rows.get("store", [""])[0].partition(" ")
    return Found(
        files=tuple(sorted(files)),
        originals=tuple(sorted(set(rows.get("original", ())))),
        changed=tuple(sorted(set(rows.get("changed", ())) - files)),
        releases=tuple(sorted(rows.get("release", ()))),
        folders=(*rows.get("staged", ()), *rows.get("state", ())),
        empty=tuple(rows.get("empty", ())),
        fetching="fetch" in rows,
        account="account" in rows,
        ports=tuple((unit, int(port)) for unit, port in ports if unit != LOADER_UNIT),
        store=store or None,
        store_bytes=int(size) if size.isdigit() else 0,
        is_note="note" in rows,
        has_manifest="manifest" in rows,
        has_run_state="run" in rows,
        sets_gpus="gpus" in rows,
        has_firewall="firewall" in rows,
        stock=rows["stock"][0] if "stock" in rows else None,
    )


def will_go(found: Found, removal: Removal) -> list[str]:
    """What a person should know before it is taken away."""
    others = [path for path in found.files if not is_unit(path)]
    return [
        *_line("stops and removes", found.units),
        *_line("removes", [*found.releases, *found.folders, *others]),
        *_line("puts back", [path.removesuffix(".before-fleet") for path in found.originals]),
        *(["removes the service user ollama"] if found.account else []),
        *_store(found, removal),
        *_line("leaves, for somebody changed it since", found.changed),
    ]


def will_stay(found: Found) -> list[str]:
    """What stays on the host and may surprise somebody later."""
    said = []
    if found.sets_gpus:
        said.append(
            "its GPUs stay cut and set as they are until the next boot; after that nothing makes their "
            "MIG instances and settings again"
        )
    if found.stock == "disabled":
        said.append(
            "the stock ollama.service that was there before stays off; `systemctl enable --now "
            "ollama.service` on the host starts it"
        )
    return said


def _store(found: Found, removal: Removal) -> list[str]:
    if found.store is None:
        return []
    what = f"{found.store} ({_size(found.store_bytes)})"
    if removal.models:
        return [f"removes the models: {what}"]
    return [f"leaves the models: {what}; `remove: {{models: true}}` takes them, too"]


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"


def _line(what: str, names: Iterable[str]) -> list[str]:
    named = ", ".join(names)
    return [f"{what} {named}"] if named else []
