"""The model store of a host: what is missing is pulled through one loader, never through a slice."""

import json
import shlex
from collections.abc import Generator
from typing import Any
from urllib.parse import urlsplit

from pyinfra import host
from pyinfra.api import operation

from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script
from ollama_fleet.planner.plan import LOADER_UNIT, MODELS_DIR, HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.store import is_complete, parse_name, wanted_blobs

BLOBS = "blobs"


def asked(plan: HostPlan) -> dict[str, str]:
    """What to ask a host about a plan's models in its store."""
    manifests = {
        model: f"cat {shlex.quote(f'{MODELS_DIR}/manifests/{parse_name(model).path}')}"
        for model in plan.models
    }
    blobs = f"find {MODELS_DIR}/blobs -name 'sha256-*' -printf '%f %s\\n' 2>/dev/null; true"
    return {BLOBS: blobs, **manifests}


def missing_models(models: tuple[str, ...], answers: Answers) -> list[str]:
    """Those of `models` that are not wholly in the store."""
    blobs = stored_blobs(answers)
    return [model for model in models if not is_complete(answers[model].text, blobs)]


def stored_blobs(answers: Answers) -> dict[str, int]:
    """File name to size in bytes of every blob in the store."""
    rows = [line.split() for line in answers[BLOBS].lines]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2}


def broken_blobs(missing: list[str], answers: Answers) -> list[str]:
    """Blobs of `missing` models that lie there in a wrong size: Ollama would believe them."""
    found = stored_blobs(answers)
    wanted = [wanted_blobs(answers[model].text) or {} for model in missing]
    sizes = {name: size for blobs in wanted for name, size in blobs.items()}
    return sorted(name for name, size in sizes.items() if found.get(name, size) != size)


def pull_script(missing: list[str], broken: list[str], plan: HostPlan) -> str:
    """Shell that pulls `missing` one after the other through the loader, and says how far it is."""
    registry = plan.ollama.registry
    removals = [f"rm -f {MODELS_DIR}/blobs/{name}" for name in broken]
    pulls = [f"pull {_pull_arguments(model, registry)}" for model in missing]
    prepare = _PULL.format(port=plan.loader_port, loader=LOADER_UNIT, models=MODELS_DIR)
    return change_script([*removals, prepare, *pulls])


def _pull_arguments(model: str, registry: str | None) -> str:
    """Arguments of the shell function `pull`: name, name at the source, request, its manifest."""
    source, insecure = model, False
    name = parse_name(model)
    if registry and name.is_public:
        # Ollama knows no mirrors: the registry is part of the name, and a copy gets the short one.
        url = urlsplit(registry)
        insecure = url.scheme == "http"
        source = f"{url.netloc}/{name.namespace}/{name.model}:{name.tag}"
    request = json.dumps({"model": source, "insecure": insecure})
    return " ".join(map(shlex.quote, (model, source, request, parse_name(source).path)))


# Success is the last line of the stream and nothing else: errors come inside a 200, too.
_PULL = """
api=http://127.0.0.1:{port}/api
call() {{ curl --noproxy "*" -sSf --max-time 60 -o /dev/null -X "$1" "$api/$2" -d "$3"; }}
progress() {{
    tail -n 1 "$log" | sed -n 's/.*"total":\\([0-9]*\\).*"completed":\\([0-9]*\\).*/\\2 \\1/p' |
        awk '{{ printf "  %d of %d MB (%d %%)\\n", $1 / 1e6, $2 / 1e6, 100 * $1 / $2 }}' || :
}}
pull_once() {{ # pull_once NAME SOURCE REQUEST
    curl --noproxy "*" -sSN --max-time 86400 "$api/pull" -d "$3" >"$log" 2>&1 &
    while sleep 0.2; kill -0 $! 2>/dev/null; do
        waited=$((${{waited:-0}} + 1))
        [ $((waited % 25)) -ne 0 ] || progress
    done
    wait $! || :
    case $(tail -n 1 "$log") in
    *'"status":"success"'*) ;;
    *) fail "cannot pull $1 from $2: $(tail -n 1 "$log" | tail -c 500)" ;;
    esac
}}
sound() {{ # sound MANIFEST: hash its blobs, for Ollama believes any file that lies under the name
    sound=0
    for digest in $(grep -o 'sha256:[0-9a-f]*' "{models}/manifests/$1" | sort -u); do
        blob={models}/blobs/sha256-${{digest#sha256:}}
        echo "${{digest#sha256:}}  $blob" | sha256sum --check --status && continue
        rm -f "$blob"
        sound=1
    done
    return $sound
}}
pull() {{ # pull NAME SOURCE REQUEST MANIFEST
    say "pulling $1"
    pull_once "$1" "$2" "$3"
    if ! sound "$4"; then
        say "  a blob of $1 was broken and is fetched again"
        pull_once "$1" "$2" "$3"
        sound "$4" || fail "$2 is broken at its source: a blob's sha256 is not its name"
    fi
    if [ "$1" != "$2" ]; then
        call POST copy "{{\\"source\\":\\"$2\\",\\"destination\\":\\"$1\\"}}"
        call DELETE delete "{{\\"model\\":\\"$2\\"}}"
    fi
}}
log=$(mktemp)
trap 'rm -f "$log"; systemctl stop {loader}' EXIT
systemctl restart {loader} || fail "the model loader does not start: journalctl -u {loader}"
"""


@operation()
def models_present(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure every model of a plan is wholly in the host's store.

    + plan: what the host is to become

    **Example:**

    .. code:: python

        models_present(name="Fetch the models", plan=plan)
    """
    questions = asked(plan)
    answers = ask(questions)
    if not questions.keys() <= answers.keys():
        yield no_answer()
        return
    missing = missing_models(plan.models, answers)
    if missing:
        yield Script(pull_script(missing, broken_blobs(missing, answers), plan))
    else:
        host.noop(f"{len(plan.models)} models are in the store")
