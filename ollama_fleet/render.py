"""A bound plan and the templates become the exact files and units of a host. No input or output but
reading templates."""

from collections.abc import Sequence
from dataclasses import dataclass

from ollama_fleet import client, warm
from ollama_fleet.hardware.found import Hardware
from ollama_fleet.hardware.instances import MIG_ROWS
from ollama_fleet.mig import layout, parted
from ollama_fleet.mig.script import WATCHERS
from ollama_fleet.planner import plan as names
from ollama_fleet.planner.plan import BoundSlice, HostPlan
from ollama_fleet.render_store import loader_unit, scrub_files, store_files
from ollama_fleet.selfcheck import files as selfcheck
from ollama_fleet.selfcheck.places import TIMER as SELFCHECK_TIMER
from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile, ready, render

DEVICES_SCRIPT = f"{names.PREFIX}/libexec/ollama-devices"
GPUS_SCRIPT = layout.GPUS_SCRIPT
NO_HARDWARE = Hardware()


@dataclass(frozen=True)
class Rendered:
    """Everything of ours on one host: files, and the units that have to be enabled and running."""

    files: tuple[HostFile, ...]
    units: tuple[str, ...]


def render_host(
    plan: HostPlan, bound: Sequence[BoundSlice], hardware: Hardware = NO_HARDWARE
) -> Rendered:
    """All files and units of a host. The same plan and hardware give the same bytes."""
    gpu_files = render_gpus(plan, bound, hardware)
    files = [*_common_files(plan, bound, GPUS_SCRIPT if gpu_files else None), *gpu_files]
    for previous, item in zip([None, *bound], bound, strict=False):
        files += _slice_files(plan, item, previous, hardware)
    files += [*warm.files(plan), *client.files(plan), *selfcheck.files(plan)]
    timers = [names.SCRUB_TIMER] if plan.store.scrub else []
    timers += [SELFCHECK_TIMER] if selfcheck.is_wanted(plan) else []
    units = (names.TARGET, *(item.plan.unit for item in bound), *timers)
    return Rendered(tuple(files), units)


def render_gpus(plan: HostPlan, bound: Sequence[BoundSlice], hardware: Hardware) -> list[HostFile]:
    """The files by which a host sets and cuts its GPUs at each boot; none where there is nothing to
    set, to cut or to keep whole."""
    return gpu_files(plan, bound, hardware) if layout.layout_lines(plan, bound, hardware) else []


def gpu_files(plan: HostPlan, bound: Sequence[BoundSlice], hardware: Hardware) -> list[HostFile]:
    """The same files for a change, which also needs them where nothing is wanted any more: what is
    set from earlier has to be taken back."""
    text = render("ollama-gpus.j2", lines=layout.layout_lines(plan, bound, hardware))
    script = render(
        "ollama-gpus.sh.j2",
        layout=layout.LAYOUT_FILE,
        mig_rows=MIG_ROWS,
        fields=",".join(layout.SCRIPT_FIELDS),
        drop_in=layout.DROP_IN,
        not_whole=layout.NOT_WHOLE,
        script=GPUS_SCRIPT,
    )
    files = [HostFile(layout.LAYOUT_FILE, text), HostFile(GPUS_SCRIPT, script, mode="0755")]
    if plan.mig:
        files.append(HostFile(parted.PARTED_FILE, f"# {MARKER}.\n{parted.write(plan)}"))
    return files


def _common_files(
    plan: HostPlan, bound: Sequence[BoundSlice], gpus_script: str | None
) -> list[HostFile]:
    nodes = sorted({node for item in bound for node in item.devices})
    minors = sorted(int(n[11:]) for n in nodes if n[11:].isdigit())
    devices = render(
        "ollama-devices.service.j2",
        script=DEVICES_SCRIPT,
        gpus_script=gpus_script,
        watchers=WATCHERS,
    )
    persistence = plan.provision.driver.manage
    script = render("ollama-devices.sh.j2", nodes=nodes, minors=minors, persistence=persistence)
    return [
        *store_files(plan),
        HostFile(DEVICES_SCRIPT, script, mode="0755"),
        HostFile(f"{UNIT_DIR}/{names.DEVICES_UNIT}", devices),
        HostFile(f"{UNIT_DIR}/{names.TARGET}", render("ollama.target.j2")),
        HostFile(f"{UNIT_DIR}/{names.LOADER_UNIT}", loader_unit(plan)),
        *scrub_files(plan),
    ]


def _slice_files(
    plan: HostPlan, item: BoundSlice, previous: BoundSlice | None, hardware: Hardware
) -> list[HostFile]:
    unit = item.plan.unit
    whole = layout.whole_gpus([item], hardware)
    minors = [gpu.minor for gpu in hardware.gpus if gpu.pci_bus_id in whole]
    text = render(
        "slice.service.j2",
        slice=item.plan,
        environment=item.unit_environment,
        devices=item.devices,
        place=item.place,
        on_instance=item.seat is not None,
        not_whole=[f"{layout.NOT_WHOLE}{minor}" for minor in minors],
        user=names.USER,
        binary=plan.ollama.binary,
        release=_release_line(plan),
        ready=ready(item.plan.port),
        home_dir=names.HOME_DIR,
        cuda_cache_dir=names.CUDA_CACHE_DIR,
        devices_unit=names.DEVICES_UNIT,
        target=names.TARGET,
    )
    files = [HostFile(f"{UNIT_DIR}/{unit}", text, restarts=unit)]
    if previous:
        order = render("slice-order.conf.j2", previous_unit=previous.plan.unit)
        files.append(HostFile(f"{UNIT_DIR}/{unit}.d/10-order.conf", order))
    return files


def _release_line(plan: HostPlan) -> str:
    """Names the archives, so that another archive of the same version restarts the slice, too."""
    sums = ", ".join(f"{arch} {digest}" for arch, digest in sorted(plan.ollama.sha256.items()))
    return f"Ollama {plan.ollama.version}, archive sha256: {sums}"
