"""One host: its own slices held against its GPUs, and everything put together as `HostPlan`."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from ollama_fleet.hardware.found import Hardware
from ollama_fleet.planner.absent import removal_of
from ollama_fleet.planner.board import HostBoard, hidden_board, host_board
from ollama_fleet.planner.custom import custom_models
from ollama_fleet.planner.delivery import downloads_of, extra_models, store_of
from ollama_fleet.planner.demand import Placed
from ollama_fleet.planner.devices import Device, Kind, gpus_of, position_of
from ollama_fleet.planner.explicit import seat_slice, slice_notes, slice_refusal
from ollama_fleet.planner.firewall import FirewallPlan, firewall_of
from ollama_fleet.planner.gateway import hop_of
from ollama_fleet.planner.memory import GpuMemory
from ollama_fleet.planner.mirror import mirror_url
from ollama_fleet.planner.monitor import runs_monitor
from ollama_fleet.planner.monitoring import monitoring_of
from ollama_fleet.planner.needs import Needs
from ollama_fleet.planner.place import wished_slices, written_slices
from ollama_fleet.planner.plan import HostPlan, SlicePlan
from ollama_fleet.planner.preload import held_models, placed_models, preload_note, with_preload
from ollama_fleet.planner.provision import provision_of
from ollama_fleet.planner.refusal import Refusal
from ollama_fleet.planner.watching import watch_of
from ollama_fleet.spec.fleet import Fleet, HostSpec
from ollama_fleet.spec.known import Known
from ollama_fleet.spec.monitoring_ports import taken_ports
from ollama_fleet.spec.rules import LOADER_PORT
from ollama_fleet.spec.selfcheck import selfcheck_min


@dataclass(frozen=True)
class WrittenHost:
    """A host as a person wrote it: its GPUs, its slices with their memory, and what is wrong."""

    name: str
    spec: HostSpec
    known: Known
    board: HostBoard
    slices: tuple[SlicePlan, ...]
    memory: tuple[GpuMemory, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...]


def written_host(
    name: str,
    spec: HostSpec,
    needs: Needs,
    hardware: Hardware | None = None,
    ports: Collection[int] = (),
) -> WrittenHost:
    """Check the slices that a person wrote; they stay as they are. `ports` are others' on this host."""
    gpus = gpus_of(spec, needs.known, hardware)
    memory: list[GpuMemory] = []
    refusals: list[Refusal] = []
    notes: list[str] = []
    slices: list[SlicePlan] = []
    taken: set[int] = set()
    hidden = False
    for index, (item, planned) in enumerate(
        zip(spec.slices, written_slices(spec.slices, ports), strict=True)
    ):
        positions = [position_of(selector, hardware) for selector in item.gpus]
        taken.update(position for position in positions if position is not None)
        hidden = hidden or None in positions
        where = f"hosts.{name}.slices[{index}]"
        kinds = _kinds(positions, gpus)
        if kinds is None:
            notes += [f"{item.name}: its memory is not checked, {_unknown(gpus)}"] if gpus else []
            slices.append(with_preload(planned, [item], needs.known))
            continue
        seated = seat_slice(item, item.gpus, kinds, needs)
        memory += seated.memory
        slices.append(with_preload(planned, [item], needs.known, held_models(seated)))
        refusal = slice_refusal(where, seated, needs)
        notes += slice_notes(seated) + preload_note(slices[-1], item)
        if refusal and item.allow_overcommit:
            notes.append(f"{item.name}: {refusal.what}; deployed because of allow_overcommit")
        elif refusal:
            refusals.append(refusal)
    board = hidden_board(name, spec, gpus) if hidden else host_board(name, spec, gpus, taken)
    found = tuple(memory), tuple(refusals), tuple(notes)
    return WrittenHost(name, spec, needs.known, board, tuple(slices), *found)


def host_plan(
    host: WrittenHost, board: HostBoard, placed: Sequence[Placed], fleet: Fleet
) -> HostPlan:
    """Everything that the host will be; `board` is what the wishes left free."""
    wished = tuple(
        (
            item,
            with_preload(
                made, [demand.spec for demand in item.demands], host.known, placed_models(item)
            ),
        )
        for item, made in wished_slices(placed, host.slices, taken_ports(fleet, host.name))
    )
    memory = (*host.memory, *_wished_memory(wished), *_rest(host, board))
    spec, store = host.spec, store_of(fleet, host.spec)
    slices = (*host.slices, *(item for _, item in wished))
    extra = extra_models(fleet, spec) if spec.state == "present" else ()
    custom, bases = custom_models(fleet, [*(tag for item in slices for tag in item.models), *extra])
    return HostPlan(
        host=host.name,
        expected_gpus=_expected_gpus(spec),
        slices=tuple(_with_store(item, store.path) for item in slices),
        extra_models=tuple(dict.fromkeys([*extra, *bases])),
        loader_port=LOADER_PORT,
        memory=tuple(sorted(memory, key=_order)) if host.board.gpus else (),
        mig=_layouts(host, board),
        reserved=tuple(spec.reserved),
        notes=(*host.notes, *_short_contexts(wished)),
        provision=provision_of(fleet, spec, mirror_url(fleet, spec)),
        store=store,
        downloads=downloads_of(fleet, spec),
        removal=removal_of(spec),
        custom=custom,
        hop=hop_of(fleet, host.name) if spec.state == "present" else None,
        firewall=firewall_of(fleet, host.name) if spec.state == "present" else FirewallPlan(),
        selfcheck_min=selfcheck_min(fleet, spec),
        watch=watch_of(fleet, spec),
        monitoring=monitoring_of(fleet, host.name) if spec.state == "present" else None,
        is_monitor=runs_monitor(fleet, host.name),
    )


def _with_store(item: SlicePlan, path: str) -> SlicePlan:
    return replace(item, environment={**item.environment, "OLLAMA_MODELS": path})


def _expected_gpus(spec: HostSpec) -> tuple[tuple[str, int], ...] | None:
    if spec.gpus is None:
        return None
    return tuple((gpu.model, gpu.count) for gpu in spec.gpus)


def _kinds(positions: Sequence[int | None], gpus: tuple[Kind, ...]) -> list[Kind] | None:
    """The cards of a slice; also where only the host knows which, if all are alike."""
    if not gpus:
        return None
    if None in positions and any(kind != gpus[0] for kind in gpus):
        return None
    found = [gpus[0] if position is None else position for position in positions]
    if any(isinstance(one, int) and one >= len(gpus) for one in found):
        return None
    return [gpus[one] if isinstance(one, int) else one for one in found]


def _unknown(gpus: tuple[Kind, ...]) -> str:
    return f"as only the host knows which of its {len(gpus)} GPUs it names"


def _wished_memory(wished: Sequence[tuple[Placed, SlicePlan]]) -> Iterator[GpuMemory]:
    for placed, item in wished:
        for position, device in enumerate(placed.devices):
            yield _memory(device, owner=item.name, position=position, placed=placed)


def _memory(device: Device, owner: str, position: int, placed: Placed) -> GpuMemory:
    return GpuMemory(
        selector=device.selector,
        card=device.kind.name,
        total_mib=device.kind.total_mib,
        usable_mib=device.kind.usable_mib,
        owner=owner,
        uses=placed.seat.uses(position),
    )


def _rest(host: WrittenHost, board: HostBoard) -> Iterator[GpuMemory]:
    """GPUs and instances that no slice has."""
    reserved = set(host.spec.reserved)
    for position, kind in enumerate(board.gpus):
        free = board.free.get(kind, 0) >> position & 1
        if position in reserved or free or board.uncut.get(position) == []:
            yield GpuMemory(
                position, kind.name, kind.total_mib, kind.usable_mib, None, position in reserved
            )
    for devices in board.cut.values():
        for device in devices:
            kind = device.kind
            yield GpuMemory(device.selector, kind.name, kind.total_mib, kind.usable_mib)


def _order(memory: GpuMemory) -> tuple[int, str]:
    selector = memory.selector
    if isinstance(selector, int):
        return selector, ""
    gpu, _, rest = selector.partition("/")
    return (int(gpu), rest) if gpu.isdigit() else (10**6, selector)


def _layouts(host: WrittenHost, board: HostBoard) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """Instances of every GPU that is cut, the largest first: smaller ones would be in the way."""
    layouts = {gpu: names for gpu, names in board.uncut.items() if names}
    for mig in host.spec.mig:
        if not isinstance(mig.profiles, str):
            layouts |= dict.fromkeys(mig.gpus, mig.profiles)
    return tuple((gpu, _largest_first(board.gpus[gpu], layouts[gpu])) for gpu in sorted(layouts))


def _largest_first(kind: Kind, names: Sequence[str]) -> tuple[str, ...]:
    profiles = map(kind.card.mig_profile, names)
    ordered = sorted(profiles, key=lambda p: (-p.memory_slices, -p.compute_slices, p.name))
    return tuple(profile.name for profile in ordered)


def _short_contexts(wished: Sequence[tuple[Placed, SlicePlan]]) -> Iterator[str]:
    for placed, item in wished:
        for note in dict.fromkeys(note for load in placed.seat.loads for note in load.notes):
            yield f"{item.name}: {note}"
