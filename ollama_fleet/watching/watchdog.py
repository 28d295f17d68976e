"""The watchdog's files: what repairs slices, rung by rung, within a budget."""

from collections.abc import Sequence

from ollama_fleet.claim import LOCK, OWNER, PROCESSES, RUN_DIR
from ollama_fleet.draining import DRAINED_DIR, MARKS_DIR
from ollama_fleet.fetching import models_unit
from ollama_fleet.hardware.found import Hardware
from ollama_fleet.planner.plan import LOADER_UNIT, TARGET, WARM_UNITS, BoundSlice, HostPlan
from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile, render
from ollama_fleet.watching import places
from ollama_fleet.watching.health import how_asked


def watchdog_files(
    plan: HostPlan, bound: Sequence[BoundSlice], hardware: Hardware
) -> list[HostFile]:
    """Unit, script and job; a change of any restarts it."""
    unit = places.WATCHDOG_UNIT
    job = "".join(_line(item, hardware) for item in bound)
    nodes = sorted({node for item in bound for node in item.devices})
    return [
        HostFile(places.WATCHDOG_JOB, f"# {MARKER}.\n{job}", restarts=unit),
        HostFile(places.WATCHDOG_SCRIPT, _script(plan), mode="0755", restarts=unit),
        HostFile(f"{UNIT_DIR}/{unit}", _unit(nodes), restarts=unit),
    ]


def _line(item: BoundSlice, hardware: Hardware) -> str:
    """`NAME PORT HOW ADDRESS…` of one slice."""
    of_gpus = [gpu.pci_bus_id for gpu in hardware.gpus if gpu.uuid in item.uuids]
    addresses = [item.seat.address] if item.seat else of_gpus
    return " ".join([item.plan.name, str(item.plan.port), how_asked(item.plan), *addresses]) + "\n"


def _script(plan: HostPlan) -> str:
    watch = plan.watch
    return render(
        "watching/ollama-watchdog.sh.j2",
        job=places.WATCHDOG_JOB,
        script=places.WATCHDOG_SCRIPT,
        run_dir=places.WATCHDOG_RUN_DIR,
        state_dir=places.WATCHDOG_STATE,
        health_dir=places.HEALTH_DIR,
        acting=places.ACTING,
        repairs=places.REPAIRS,
        drained_now=MARKS_DIR,
        drained_long=DRAINED_DIR,
        processes=PROCESSES,
        owner=OWNER,
        lock=LOCK,
        fleet_dir=RUN_DIR,
        warm_units=WARM_UNITS,
        fetchers=(models_unit(plan).unit, LOADER_UNIT),
        budget=watch.repairs_per_hour,
        resets="yes" if watch.resets else "no",
        load_timeout_s=watch.load_timeout_s,
        most_load=watch.most_load,
        stale_s=watch.busy_timeout_s + 2 * watch.timeout_s + watch.every_s + 60,
    )


def _unit(nodes: Sequence[str]) -> str:
    return render(
        "watching/ollama-watchdog.service.j2",
        marker=MARKER,
        target=TARGET,
        health_unit=places.HEALTH_UNIT,
        script=places.WATCHDOG_SCRIPT,
        directory=places.WATCHDOG_RUN_DIR.removeprefix("/run/"),
        state_directory=places.WATCHDOG_STATE.removeprefix("/var/lib/"),
        nodes=nodes,
        fleet_dir=RUN_DIR,
        lock=LOCK,
    )
