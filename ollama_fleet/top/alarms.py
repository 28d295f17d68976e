"""What of a machine is wrong now, in the words and with the severity of the checks. Pure."""

from collections.abc import Iterator, Mapping

from ollama_fleet.checks.health import XIDS
from ollama_fleet.checks.kinds import Severity, kind_of
from ollama_fleet.top.model import Alarm, GpuNow, MachineNow, PoolNow, SliceNow

# Data-centre cards slow down at about 87 °C, GeForce at 83 to 93: from here on it is worth a look.
HOT_C = 88
DISK_FREE_SHARE, DISK_FREE_MIB = 0.05, 20 * 1024
MEMORY_FREE_SHARE = 0.03
RUNS = ("active", "activating", "reloading")


def alarms(
    machine: MachineNow,
    xids: Mapping[str, tuple[int, ...]],
    expected_gpus: int | None,
    restarts: Mapping[str, int],
    smi_message: str = "",
) -> tuple[Alarm, ...]:
    """Everything; `restarts` are those that slices had while they were looked at, by name."""
    host = machine.name
    if machine.error:
        return (Alarm(host, "host", "reachable", "critical", machine.error),)
    found = [
        *_host(machine),
        *_count(machine, expected_gpus, smi_message),
        *(one for gpu in machine.gpus for one in _gpu(host, gpu, xids.get(gpu.address, ()))),
        *(one for item in machine.slices for one in _slice(host, item, restarts.get(item.name, 0))),
        *(one for pool in machine.pools for one in _pool(host, pool)),
    ]
    return tuple(dict.fromkeys(found))


def _alarm(
    host: str, subject: str, check: str, words: str, severity: Severity | None = None
) -> Alarm:
    return Alarm(host, subject, check, severity or kind_of(check).severity, words)


def _host(machine: MachineNow) -> Iterator[Alarm]:
    system = machine.system
    for disk in system.disks:
        if disk.free_mib < min(DISK_FREE_MIB, disk.size_mib * DISK_FREE_SHARE):
            words = f"{disk.free_mib / 1024:.1f} GiB are free at {disk.path}"
            yield _alarm(machine.name, "host", "disk", words)
    memory, free = system.memory_mib, system.available_mib
    if memory and free is not None and free < memory * MEMORY_FREE_SHARE:
        words = f"{free / 1024:.1f} of {memory / 1024:.0f} GiB memory are available"
        yield _alarm(machine.name, "host", "memory", words, "major")


def _count(machine: MachineNow, expected: int | None, smi_message: str) -> Iterator[Alarm]:
    seen = sum(gpu.index is not None for gpu in machine.gpus)
    wanted = len(machine.gpus) if expected is None else max(expected, len(machine.gpus))
    if seen < wanted:
        why = f" ({smi_message})" if smi_message else ""
        words = f"{seen} of {wanted} GPUs are in nvidia-smi{why}"
        yield _alarm(machine.name, "host", "gpu count", words)


def _gpu(host: str, gpu: GpuNow, xids: tuple[int, ...]) -> Iterator[Alarm]:
    subject = f"gpu {gpu.address}"
    if gpu.lost and gpu.index is not None:
        yield _alarm(host, subject, "gpu health", "lost: it does not answer the driver")
    for words in gpu.slowed:
        yield _alarm(host, subject, "throttling", words)
    if gpu.warm:
        yield _alarm(host, subject, "throttling", gpu.warm, "minor")
    if gpu.temperature_c is not None and gpu.temperature_c >= HOT_C:
        yield _alarm(host, subject, "throttling", f"{gpu.temperature_c} °C")
    if gpu.ecc_uncorrected:
        words = f"{gpu.ecc_uncorrected} uncorrected ECC errors since the driver loaded"
        yield _alarm(host, subject, "ecc", words)
    for code in xids:
        meaning = XIDS.get(code, "see NVIDIA's list of Xids")
        words = f"Xid {code} since its driver was loaded ({meaning})"
        yield _alarm(host, subject, "xid", words)


def _slice(host: str, item: SliceNow, restarts: int) -> Iterator[Alarm]:
    if item.quarantined:
        words = f"in quarantine: {item.quarantined}"
        yield _alarm(host, item.name, "in service", words, "major")
    elif item.drained:
        yield _alarm(host, item.name, "in service", f"drained {item.drained}".strip(), "minor")
    if item.state is not None and item.state not in RUNS:
        yield _alarm(host, item.name, "unit", f"its unit is {item.state}", "critical")
    elif item.listens is False:
        yield _alarm(host, item.name, "api", f"nothing listens on port {item.port}", "critical")
    elif item.models is None and item.listens:
        words = f"port {item.port} is open, and the API does not answer"
        yield _alarm(host, item.name, "api", words, "critical")
    if item.serves is False:
        words = f"does not serve: {item.silence or 'see its health watch'}"
        yield _alarm(host, item.name, "inference", words, "critical")
    for model in item.models or ():
        if model.vram_mib < model.size_mib:
            words = f"{model.name}: {model.vram_mib} of {model.size_mib} MiB are on its GPU"
            yield _alarm(host, item.name, "weights on gpu", words)
    if restarts > 0:
        words = f"restarted {restarts} times while it was looked at"
        yield _alarm(host, item.name, "restarts", words)


def _pool(host: str, pool: PoolNow) -> Iterator[Alarm]:
    subject = f"gateway {pool.gateway}"
    if pool.up is None:
        yield _alarm(host, subject, "ollama-balancer", "HAProxy does not answer", "critical")
    elif pool.up == 0:
        words = f"{pool.model}: none of its {pool.slices} slices is up"
        yield _alarm(host, subject, "slices", words, "critical")
    elif pool.up < pool.slices:
        words = f"{pool.model}: {pool.up} of {pool.slices} slices are up"
        yield _alarm(host, subject, "slices", words, "minor")
    if pool.faults:
        words = f"{pool.model}: {pool.faults} requests failed in the last minute"
        yield _alarm(host, subject, "slices", words, "major")
