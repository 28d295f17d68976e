"""The files by which a host fills, uses and looks after its model store."""

from ollama_fleet.fetching import FETCH_SCRIPT, MODELS_JOB, NEWER_SANDBOX, SANDBOX, models_job
from ollama_fleet.planner import plan as names
from ollama_fleet.planner.place import COMMON_ENVIRONMENT
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.templating import UNIT_DIR, HostFile, ready, render


def scrub_files(plan: HostPlan) -> list[HostFile]:
    """The weekly look at every blob, where it is wanted."""
    if not plan.store.scrub:
        return []
    service = render(
        "ollama-scrub.service.j2",
        script=FETCH_SCRIPT,
        job=MODELS_JOB,
        sandbox=SANDBOX + NEWER_SANDBOX,
        environment=plan.provision.environment,
        **_paths(plan),
    )
    return [
        HostFile(f"{UNIT_DIR}/ollama-scrub.service", service),
        HostFile(f"{UNIT_DIR}/{names.SCRUB_TIMER}", render("ollama-scrub.timer.j2")),
    ]


def store_files(plan: HostPlan) -> list[HostFile]:
    """What is needed to fill the store: the service user, its folders, how and what to download.

    These come first of all, so that downloads run beside the rest.
    """
    return [
        HostFile("/etc/sysusers.d/ollama.conf", render("sysusers.conf.j2", **_paths(plan))),
        HostFile(
            "/etc/tmpfiles.d/ollama.conf",
            render(
                "tmpfiles.conf.j2",
                directories=plan.directories,
                store_folders=names.STORE_FOLDERS,
                **_paths(plan),
            ),
        ),
        fetch_script(),
        HostFile(MODELS_JOB, models_job(plan)),
    ]


def fetch_script() -> HostFile:
    """The program that downloads; the same for all hosts."""
    return HostFile(FETCH_SCRIPT, render("ollama-fetch.sh.j2"), mode="0755")


def _paths(plan: HostPlan) -> dict[str, str]:
    return {
        "user": names.USER,
        "state_dir": names.STATE_DIR,
        "home_dir": names.HOME_DIR,
        "models_dir": plan.store.path,
        "cuda_cache_dir": names.CUDA_CACHE_DIR,
    }


def loader_unit(plan: HostPlan) -> str:
    """The unit of the one server that may write to the store."""
    environment = COMMON_ENVIRONMENT | {
        "OLLAMA_HOST": f"127.0.0.1:{plan.loader_port}",
        "OLLAMA_MODELS": plan.store.path,
        "CUDA_VISIBLE_DEVICES": "-1",
        **plan.provision.environment,
    }
    return render(
        "ollama-loader.service.j2",
        **_paths(plan),
        binary=plan.ollama.binary,
        ready=ready(plan.loader_port),
        environment=environment,
    )
