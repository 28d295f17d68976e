"""The prober's files: it asks each slice for a token, and marks those that do not serve."""

from ollama_fleet.draining import DRAINED_DIR, MARKS_DIR
from ollama_fleet.planner.plan import TARGET, USER, HostPlan, SlicePlan
from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile, render
from ollama_fleet.watching import places

# The account of everything that is the gateway's; where there is a gateway it comes before the slices'.
GATEWAY_USER = "ollama-gateway"


def health_files(plan: HostPlan) -> list[HostFile]:
    """Unit, script and job; a change of any restarts it."""
    unit, watch = places.HEALTH_UNIT, plan.watch
    script = render(
        "watching/ollama-health.sh.j2",
        job=places.HEALTH_JOB,
        slices_user=USER,
        run_dir=places.HEALTH_DIR,
        drained_now=MARKS_DIR,
        drained_long=DRAINED_DIR,
        every_s=watch.every_s,
        timeout_s=watch.timeout_s,
        busy_timeout_s=watch.busy_timeout_s,
    )
    text = render(
        "watching/ollama-health.service.j2",
        marker=MARKER,
        target=TARGET,
        user=GATEWAY_USER if plan.hop else USER,
        script=places.HEALTH_SCRIPT,
        directory=places.HEALTH_DIR.removeprefix("/run/"),
    )
    job = "".join(f"{item.name} {item.port} {how_asked(item)}\n" for item in plan.slices)
    return [
        HostFile(places.HEALTH_JOB, f"# {MARKER}.\n{job}", restarts=unit),
        HostFile(places.HEALTH_SCRIPT, script, mode="0755", restarts=unit),
        HostFile(f"{UNIT_DIR}/{unit}", text, restarts=unit),
    ]


def how_asked(item: SlicePlan) -> str:
    """`warm`: it loads its models by itself, and is asked for a token; `ask`: the same once somebody
    else has loaded one; `-`: asking would keep what it lets go, so that it is only looked at."""
    if not item.environment["OLLAMA_KEEP_ALIVE"].startswith("-"):
        return "-"
    return "warm" if item.preload else "ask"
