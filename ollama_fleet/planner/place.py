"""Which name and port each slice gets and what its server is told."""

from collections.abc import Collection, Iterable, Sequence
from itertools import chain, count

from ollama_fleet.planner.demand import Placed
from ollama_fleet.planner.explicit import SPREAD
from ollama_fleet.planner.plan import CUDA_CACHE_DIR, HOME_DIR, SlicePlan
from ollama_fleet.spec.fleet import FIRST_RESERVED_PORT, FIRST_SLICE_PORT, SliceSpec, WishSpec
from ollama_fleet.spec.known import full_model_name

# What every slice is told, whatever it serves. VULKAN off: from 0.30 on it would bring hidden GPUs
# back. NOPRUNE: a starting slice must not delete what another is pulling into the shared store.
COMMON_ENVIRONMENT = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "CUDA_CACHE_PATH": CUDA_CACHE_DIR,
    "HOME": HOME_DIR,
    "OLLAMA_NOPRUNE": "1",
    "OLLAMA_NO_CLOUD": "1",
    "OLLAMA_VULKAN": "0",
}
# A slice is at 11434 + the position of its first GPU; MIG instances at 11500 + 64 × GPU
# + 8 × their profile in the card's list + their number, so that none depends on another.
FIRST_INSTANCE_PORT = 11500
PORTS_PER_GPU = 64
LONGEST_NAME = 32


def written_slices(
    slices: Sequence[SliceSpec], others: Collection[int] = ()
) -> tuple[SlicePlan, ...]:
    """Slices as a person wrote them; `others` are ports of the host that something else has."""
    ports = _written_ports(slices, others)
    return tuple(
        SlicePlan(
            name=item.name,
            gpus=tuple(item.gpus),
            port=ports[item.name],
            models=tuple(map(full_model_name, item.models)),
            environment=_environment(item, ports[item.name], len(item.models)),
            env_file=item.env_file,
            overcommit=item.allow_overcommit,
            default=item.default,
        )
        for item in slices
    )


def _written_ports(slices: Sequence[SliceSpec], others: Collection[int]) -> dict[str, int]:
    """Written ports stay; the others follow from the first GPU, so that no neighbour moves them."""
    ports = {item.name: item.port for item in slices if item.port is not None}
    for item in slices:
        if item.name not in ports:
            wanted = FIRST_SLICE_PORT + min((g for g in item.gpus if isinstance(g, int)), default=0)
            taken = {*ports.values(), *others}
            ports[item.name] = next(port for port in count(wanted) if port not in taken)
    return ports


def wished_slices(
    placed: Sequence[Placed], written: Sequence[SlicePlan], others: Collection[int] = ()
) -> tuple[tuple[Placed, SlicePlan], ...]:
    """Slices that the planner made on one host, in the order of their GPUs; none gets a port of `others`."""
    ordered = sorted(placed, key=lambda item: (item.devices[0].gpu, str(item.devices[0].selector)))
    names = _names(ordered, {item.name for item in written})
    ports = _ports(ordered, {item.port for item in written}, set(others))
    return tuple(
        (item, _wished(item, name, port))
        for item, name, port in zip(ordered, names, ports, strict=True)
    )


def _wished(item: Placed, name: str, port: int) -> SlicePlan:
    spec = item.demands[0].spec
    models = tuple(tag for demand in item.demands for tag in demand.tags)
    environment = _environment(spec, port, len(models))
    if len(item.devices) > 1:
        environment.setdefault(SPREAD, "1")
    return SlicePlan(
        name=name,
        gpus=tuple(device.selector for device in item.devices),
        port=port,
        models=models,
        environment=environment,
        env_file=spec.env_file,
        wished=True,
        default=any(demand.spec.default for demand in item.demands),
    )


def _names(placed: Sequence[Placed], taken: set[str]) -> list[str]:
    """`chat`, `chat-2`, …; a kept slice keeps its name, unless a written one has it by now."""
    kept = {item.name for item in placed if item.name} - taken
    taken = taken | kept
    names = []
    for item in placed:
        kept_name = item.name if item.name in kept else None
        name = kept_name or _free_name(item.demands[0].slice_name, taken)
        taken.add(name)
        names.append(name)
    return names


def _free_name(stem: str, taken: set[str]) -> str:
    name, number = stem, 1
    while name in taken:
        number += 1
        suffix = f"-{number}"
        name = stem[: LONGEST_NAME - len(suffix)].rstrip("-") + suffix
    return name


def _ports(placed: Sequence[Placed], taken: Iterable[int], others: set[int]) -> list[int]:
    """Kept ports, then each slice's own; where that is taken, the first free one above all."""
    kept = {item.port for item in placed if item.port} - set(taken) - others
    used = set(taken) | kept
    own: list[int | None] = []
    for item in placed:
        stays = item.port in kept
        port = item.port if item.port and stays else _own_port(item)
        own.append(port if stays or port not in used | others else None)
        used.add(port)
    above = range(max(used, default=FIRST_SLICE_PORT) + 1, FIRST_RESERVED_PORT)
    below = range(FIRST_SLICE_PORT, FIRST_RESERVED_PORT)
    further = (p for p in chain(above, below) if p not in used | others)
    return [port if port is not None else next(further) for port in own]


def _own_port(item: Placed) -> int:
    first = item.devices[0]
    if not first.kind.profile:
        return FIRST_SLICE_PORT + first.gpu
    profiles = [profile.name for profile in first.kind.card.mig_profiles]
    place = 8 * profiles.index(first.kind.profile) + first.instance
    return FIRST_INSTANCE_PORT + PORTS_PER_GPU * first.gpu + place


def _environment(spec: SliceSpec | WishSpec, port: int, models: int) -> dict[str, str]:
    wanted = {
        **COMMON_ENVIRONMENT,
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_CONTEXT_LENGTH": str(spec.context),
        "OLLAMA_NUM_PARALLEL": str(spec.parallel),
        "OLLAMA_KEEP_ALIVE": str(spec.keep_alive),
        "OLLAMA_KV_CACHE_TYPE": spec.kv_cache,
        "OLLAMA_MAX_LOADED_MODELS": str(max(1, models)),
    }
    if spec.flash_attention is not None:
        wanted["OLLAMA_FLASH_ATTENTION"] = _text(spec.flash_attention)
    return wanted | {name: _text(value) for name, value in spec.env.items()}


def _text(value: str | int | bool) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
