"""The requests that a verification makes on the host: what is asked of each slice's API, and how the
answers are taken apart. Pure text; `serving` judges."""

import json
from collections.abc import Iterable
from typing import Any

from ollama_fleet.hardware.found import APP_FIELDS
from ollama_fleet.planner.plan import HostPlan, SlicePlan
from ollama_fleet.questions import json_object

# Where a verification keeps what its generations answered: of its own, for two may run at once ($$ is
# the same in every question of one script). Only root can read it.
RUN_DIR = "/run/ollama-fleet"
FOLDER = f"{RUN_DIR}/verify.$$"
# What a run left that was killed while it verified goes. A verification that ends just now may take
# the folder above away, where nothing else is in it.
OPEN = f"""for left in {RUN_DIR}/verify.*; do
    [ -d "/proc/${{left##*.}}" ] || rm -rf "$left"
done
for try in 1 2 3; do
    {{ [ -d {RUN_DIR} ] || mkdir -m 700 {RUN_DIR}; mkdir -m 700 {FOLDER}; }} 2>/dev/null && break
done
[ -d {FOLDER} ] || exit 1"""
CLOSE = f"rm -rf {FOLDER}\nrmdir {RUN_DIR} 2>/dev/null || true"
# Loopback never goes through a proxy that the host's environment may name.
CURL = "curl --noproxy '*' -sS"
# With a shorter keep_alive a model may be gone before its memory is looked at.
LEAST_KEEP_ALIVE_S = 15 * 60
UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}

# Of each MIG instance what is in use, and which of them each process is on: `--query-compute-apps` has
# no instance, and on most drivers no memory of what runs on one. A GPU's instances come before its
# processes.
_INSTANCES = """nvidia-smi -q -x | awk '
    function value(line) { split(line, part, /[<>]/); return part[3] }
    /<gpu id=/ { split($0, part, "\\""); gpu = part[2] }
    /<mig_device>/ { within = 1; used = "" }
    /<process_info>/ { pid = "" }
    /<gpu_instance_id>/ { its = value($0) }
    /<pid>/ { pid = value($0) }
    within && /<used>/ && used == "" { used = value($0); sub(/ MiB/, "", used) }
    /<\\/mig_device>/ { within = 0; print "instance", gpu, its, used }
    /<\\/process_info>/ { print "process", gpu, its, pid }'"""


def start_questions(plan: HostPlan) -> dict[str, str]:
    """Start one generation per slice, all at once; the other checks ask while they run."""
    jobs = "\n".join(
        f"{{ {_generate(item, plan.verify_timeout_s)}\n: >{FOLDER}/{item.name}.done\n}} "
        ">/dev/null 2>&1 &"
        for item in _busy(plan)
    )
    return {"start": f"{OPEN}\n{jobs}"}


def generation_questions(plan: HostPlan) -> dict[str, str]:
    """Wait for the generations, then read what came, what each slice has now (version, models in the
    store and in memory, by one curl), and who holds memory on the GPUs."""
    names = " ".join(item.name for item in _busy(plan))
    tries = 50 * (plan.verify_timeout_s + 30)
    paths = ("version", "tags", "ps")
    return {
        "wait": f"""tries=0
for name in {names or '""'}; do
    while [ -n "$name" ] && [ ! -e {FOLDER}/$name.done ] && [ $tries -lt {tries} ]; do
        tries=$((tries + 1)); sleep 0.02
    done
done""",
        "generations": f"cd {FOLDER} && grep -aH '' {names}" if names else "true",
        "api": get_all(f"{item.url}/api/{path}" for item in plan.slices for path in paths),
        "apps": f"nvidia-smi --query-compute-apps={','.join(APP_FIELDS)} "
        f"--format=csv,noheader,nounits | tee {FOLDER}/apps",
        **({"instances": _INSTANCES} if plan.mig else {}),
        "owners": f"""while IFS=', ' read -r uuid pid rest; do
    set -- "$@" "/proc/$pid/cgroup"
done <{FOLDER}/apps
[ $# -eq 0 ] || grep -H . "$@\"""",
    }


def tidy_questions(plan: HostPlan) -> dict[str, str]:
    """Leave everything as it was: models that were kept for this, and what earlier questions kept."""
    return {"tidy": f"{_as_before(plan)}{CLOSE}"}


def generations(text: str) -> dict[str, str]:
    """Answers to `generations`: name of a slice to what came."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        found.setdefault(name, []).append(rest)
    return {name: "\n".join(lines) for name, lines in found.items()}


def documents(text: str) -> dict[str, dict[str, Any]]:
    """Answers of several requests (see `get_all`): URL to JSON object, empty where none came."""
    found: dict[str, dict[str, Any]] = {}
    answer: list[str] = []
    for line in text.splitlines():
        if line.startswith("#http"):
            found[line[1:]] = json_object("\n".join(answer))
            answer = []
        else:
            answer.append(line)
    return found


def get_all(urls: Iterable[str], timeout_s: int = 10) -> str:
    """One curl for all `urls`, `timeout_s` for each; the line `#<url>` ends each answer."""
    words = " ".join(urls)
    marker = "-w '\\n#%{url_effective}\\n'"
    return f"{CURL} --max-time {timeout_s} {marker} {words} 2>/dev/null" if words else "true"


def _busy(plan: HostPlan) -> list[SlicePlan]:
    """Slices that have a model to answer with."""
    return [item for item in plan.slices if item.models]


def _generate(item: SlicePlan, timeout_s: int) -> str:
    """A short generation into a file; a model that only embeds answers 400 and is asked to embed instead."""
    generate = {
        "model": item.models[0],
        "prompt": "Answer with one short sentence: are you running?",
        "stream": False,
        "think": False,
        "options": {"num_predict": 16, "temperature": 0, "seed": 1},
        **_keep_alive(item),
    }
    embed = {"model": item.models[0], "input": "are you running?", **_keep_alive(item)}
    # A server that does not even tell its version is not waited for.
    alive = f"{CURL} --fail-early -f --max-time 10 -o /dev/null {item.url}/api/version"
    post = f"--noproxy '*' -sS --max-time {timeout_s} {item.url}/api"
    file = f"{FOLDER}/{item.name}"
    return f"""{_note_cold(item)}{alive} --next {post}/generate -d '{json.dumps(generate)}' >{file} 2>&1
read -r answer <{file}
case $answer in
*"does not support"*) curl {post}/embed -d '{json.dumps(embed)}' >{file} 2>&1 ;;
esac"""


def _keep_alive(item: SlicePlan) -> dict[str, int]:
    """Longer for this request where the planned one is short; else the server's own holds."""
    return {"keep_alive": LEAST_KEEP_ALIVE_S} if _lets_go(item) else {}


def _lets_go(item: SlicePlan) -> bool:
    """Whether a model may be gone before its memory is looked at."""
    planned = item.environment.get("OLLAMA_KEEP_ALIVE", "-1")
    value = planned.rstrip("mshu")
    seconds = float(value) * UNITS_S.get(planned[len(value) :], 1)
    return 0 <= seconds < LEAST_KEEP_ALIVE_S


def _note_cold(item: SlicePlan) -> str:
    """Whether nothing is in the memory of a slice that lets models go: then nothing stays there. One
    that loads by itself may be about to."""
    if not _lets_go(item) or item.preload:
        return ""
    ps = f"{CURL} --max-time 10 {item.url}/api/ps"
    return (
        f"""case $({ps} 2>/dev/null) in *'"models":[]'*) : >{FOLDER}/{item.name}.cold ;; esac\n"""
    )


def _as_before(plan: HostPlan) -> str:
    """Models that were kept longer to be looked at go when they were planned to, or at once where they
    were not there before."""
    return "".join(map(_let_go, filter(_lets_go, _busy(plan))))


def _let_go(item: SlicePlan) -> str:
    planned = item.environment["OLLAMA_KEEP_ALIVE"]
    # A number without a unit is one: as text it would be refused.
    kept = planned if planned.isdigit() else json.dumps(planned)
    model, file = json.dumps(item.models[0]), f"{FOLDER}/{item.name}"
    post = f"{CURL} --max-time 10 {item.url}/api"
    return f"""[ -e {file}.cold ] && kept=0 || kept='{kept}'
case $(cat {file} 2>/dev/null) in
*'"done":true'*) {post}/generate -d '{{"model": {model}, "keep_alive": '"$kept"'}}' ;;
*'"embeddings"'*) {post}/embed -d '{{"model": {model}, "input": "", "keep_alive": '"$kept"'}}' ;;
esac >/dev/null 2>&1
"""
