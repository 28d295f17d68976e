"""What is asked of a gateway for the proof that it serves, and the answers as one value."""

import json
import shlex
from dataclasses import dataclass

from ollama_fleet.gateway import places
from ollama_fleet.planner.gateway import GatewayPlan, Upstream
from ollama_fleet.questions import Answers

# Of larger fleets one slice of each host is asked: the rest of the way is the same.
MOST_ASKED = 64
# After a start the health of slices is known within so many seconds.
SETTLES_S = 15
ANSWERS_WITHIN_S = 120
WELL = "well"


@dataclass(frozen=True)
class Proof:
    """A gateway's answers: slice to its state in the balancer, slice to what a generation through the
    balancer gave (None where none was asked for), and the status of a request without a key at the
    gateway's own address."""

    states: dict[str, str]
    answers: dict[str, str] | None
    front: str


def questions(plan: GatewayPlan, settles_s: int = SETTLES_S) -> dict[str, str]:
    """Everything that proves a gateway; slices that are down are waited for `settles_s`."""
    return {
        "gateway.states": f"""tries=0
while :; do
    states=$(echo 'show stat' | socat - UNIX-CONNECT:{places.ADMIN_SOCKET} 2>/dev/null |
        awk -F, '$1 == "slices" && $2 != "BACKEND" {{ print $2, $18 }}')
    case $states in *DOWN*) ;; *) break ;; esac
    tries=$((tries + 1))
    [ $tries -lt {settles_s} ] || break
    sleep 1
done
echo "$states\"""",
        "gateway.front": f"curl --noproxy '*' -sk --max-time 10 -o /dev/null -w '%{{http_code}}' "
        f"{own_url(plan)}/api/version",
        # After the states: who comes up just now would be asked too early.
        "gateway.answers": "\n".join([_ASK, *map(_asks, asked_slices(plan)), "wait"]),
    }


def read_proof(answers: Answers) -> Proof:
    """Answers to `questions`."""
    asked = answers.get("gateway.answers")
    said = [line.partition(" ") for line in asked.lines] if asked else []
    states = [line.partition(" ") for line in answers["gateway.states"].lines]
    return Proof(
        states={name: state for name, _, state in states},
        answers={name: words for name, _, words in said} if asked else None,
        front=answers["gateway.front"].text.strip(),
    )


def asked_slices(plan: GatewayPlan) -> list[Upstream]:
    """Slices that are asked for a token through the balancer."""
    able = [upstream for upstream in plan.upstreams if upstream.model]
    if len(able) <= MOST_ASKED:
        return able
    return list({upstream.host: upstream for upstream in reversed(able)}.values())[:MOST_ASKED]


def own_url(plan: GatewayPlan) -> str:
    """How the machine reaches its own gateway."""
    host = plan.listen or "127.0.0.1"
    shown = f"[{host}]" if ":" in host else host
    return f"{'http' if plan.tls.source == 'none' else 'https'}://{shown}:{plan.port}"


def _asks(upstream: Upstream) -> str:
    model = shlex.quote(json.dumps(upstream.model))
    return f"ask {shlex.quote(upstream.name)} {model} &"


_ASK = f"""post() {{ # post SLICE ROUTE BODY
    curl -sS --max-time {ANSWERS_WITHIN_S} --unix-socket {places.POOLS_SOCKET} -d "$3" \\
        -H "X-Ollama-Pool: slice.$1" "http://localhost/api/$2" 2>&1
}}
ask() {{ # ask SLICE MODEL
    said=$(post "$1" generate '{{"model":'"$2"',"prompt":"hi","stream":false,"options":{{"num_predict":1}}}}')
    case $said in
    *"does not support generate"*) said=$(post "$1" embed '{{"model":'"$2"',"input":"hi"}}') ;;
    esac
    case $said in
    *'"done":true'* | *'"embeddings":'*) said={WELL} ;;
    esac
    printf '%s %s\\n' "$1" "$(printf '%s' "$said" | tr '\\n' ' ' | cut -c 1-200)"
}}"""
