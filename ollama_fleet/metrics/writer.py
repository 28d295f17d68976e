"""The writer: what looks at GPUs and slices again and again, and writes their metrics for node exporter."""

from collections.abc import Iterator

from ollama_fleet.draining import DRAINED_DIR, MARKS_DIR
from ollama_fleet.metrics import places
from ollama_fleet.metrics.catalogue import header_lines
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.planner.plan import HostPlan, SlicePlan
from ollama_fleet.services.service import Service
from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile, render
from ollama_fleet.watching.places import HEALTH_DIR

# Seconds between two looks at who holds how much memory of a GPU: an nvidia-smi more.
PROCESSES_S = 60


def writer_service(plan: MonitoringPlan, host: HostPlan) -> Service:
    """The writer of one host."""
    unit = render(
        "metrics/ollama-metrics.service.j2",
        marker=MARKER,
        user=places.USER,
        script=places.WRITER_SCRIPT,
        metrics_dir=places.METRICS_DIR,
        run_dir=places.RUN_DIR.removeprefix("/run/"),
        tls_dir=places.TLS,
    )
    files = (
        HostFile(places.JOB, f"# {MARKER}.\n{job_of(host)}"),
        HostFile(places.WRITER_SCRIPT, _script(plan, host), mode="0755"),
        HostFile(places.AWK_SCRIPT, _program()),
        HostFile(f"{UNIT_DIR}/{places.WRITER_UNIT}", unit),
    )
    return Service(places.WRITER_UNIT, configuration=(), others=files)


def job_of(host: HostPlan) -> str:
    """A line `NAME PORT PLANNED-BYTES MODEL…` per slice; `*` before models that are to stay in memory."""
    return "".join(
        " ".join([item.name, str(item.port), _planned(host, item), *_models(item)]) + "\n"
        for item in host.slices
    )


def _models(item: SlicePlan) -> Iterator[str]:
    stays = item.environment["OLLAMA_KEEP_ALIVE"].startswith("-")
    kept = {one.model for one in item.preload} if stays else set()
    return (f"*{model}" if model in kept else model for model in item.models)


def _planned(host: HostPlan, item: SlicePlan) -> str:
    """Bytes that its models take by the plan; `-` where something of it is unknown."""
    own = [memory for memory in host.memory if memory.owner == item.name]
    if not own or any(memory.unchecked for memory in own):
        return "-"
    return str(round(sum(memory.used_mib for memory in own) * 2**20))


def _script(plan: MonitoringPlan, host: HostPlan) -> str:
    return render(
        "metrics/ollama-metrics.sh.j2",
        marker=MARKER,
        interval_s=plan.interval_s,
        turns=max(1, round(PROCESSES_S / plan.interval_s)),
        file=places.METRICS_FILE,
        job=places.JOB,
        program=places.AWK_SCRIPT,
        run_dir=places.RUN_DIR,
        mig=bool(host.mig),
        slices=host.slices,
        health_dir=HEALTH_DIR,
        drained_now=MARKS_DIR,
        drained_long=DRAINED_DIR,
        watchdog_dir=places.WATCHDOG_DIR,
    )


def _program() -> str:
    return render(
        "metrics/ollama-metrics.awk.j2", marker=MARKER, header=header_lines("ollama-metrics")
    )
