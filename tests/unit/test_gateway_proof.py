"""What the proof of a gateway says of its answers: each verdict, when all is well and when it is not."""

from dataclasses import replace

import pytest

from ollama_fleet.checks.gateway import gateway_questions, judge_gateway
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.gateway.gateway import common_files, gateway_services
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.gateway.places import BALANCER_UNIT, GATEWAY_UNIT
from ollama_fleet.gateway.proof import MOST_ASKED, WELL, asked_slices, read_proof
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.questions import Answer
from ollama_fleet.services.service import read_found
from tests.unit.examples import service_answers
from tests.unit.gateways import gateways

PLAN = gateways()["gw1"]
OPEN = replace(PLAN, needs_key=False)
NAMES = [one.name for one in PLAN.upstreams]
UP = dict.fromkeys(NAMES, "UP")


def judged(
    plan: GatewayPlan = PLAN,
    states: dict[str, str] | None = None,
    said: dict[str, str] | None = None,
    front: str = "401",
    **changes: str,
) -> list[CheckResult]:
    """Results of a gateway that is well but for its slices' `states`, what they `said`, and `changes` of the
    text that tells of its services (what is there, and what in its place)."""
    services = gateway_services(plan, Machine())
    answers = service_answers("gateway", services, common_files())
    answers |= {
        "gateway.states": "\n".join(f"{name} {state}" for name, state in (states or UP).items()),
        "gateway.answers": "\n".join(
            f"{name} {words}" for name, words in (dict.fromkeys(UP, WELL) | (said or {})).items()
        ),
        "gateway.front": front,
    }
    texts = {name: Answer(changes.get(name, text)) for name, text in answers.items()}
    found = read_found("gateway", services, texts)
    return judge_gateway(plan, services, found, read_proof(texts))


def bad(results: list[CheckResult]) -> dict[str, tuple[str, str]]:
    """Check to the status and the words of what is not well; one of each."""
    wrong = [one for one in results if one.status != "ok"]
    assert all(one.remedy and one.subject == "gateway gw1" for one in wrong)
    assert len({one.check for one in wrong}) == len(wrong)
    return {one.check: (one.status, one.found) for one in wrong}


def test_a_gateway_that_does_what_it_should_passes_every_check() -> None:
    results = judged()
    assert bad(results) == {} and not any(one.remedy for one in results)
    assert {one.check: one.found for one in results if not one.check.startswith("ollama-")} == {
        "slices": "3 of 3",
        "inference": "3 of 3 asked",
        "front": "401",
    }


@pytest.mark.parametrize(
    ("unit", "of", "instead", "words"),
    [
        (GATEWAY_UNIT, "ActiveState=active", "ActiveState=failed", "failed, enabled"),
        (BALANCER_UNIT, "UnitFileState=enabled", "UnitFileState=disabled", "active, disabled"),
    ],
)
def test_a_service_of_a_gateway_that_does_not_run_or_would_not_at_boot_fails(
    unit: str, of: str, instead: str, words: str
) -> None:
    services = gateway_services(PLAN, Machine())
    text = service_answers("gateway", services, common_files())["gateway.units"]
    blocks = [
        block.replace(of, instead) if f"Id={unit}" in block else block
        for block in text.split("\n\n")
    ]
    results = judged(**{"gateway.units": "\n\n".join(blocks)})
    assert bad(results) == {unit.removesuffix(".service"): ("failed", words)}


@pytest.mark.parametrize("unit", [GATEWAY_UNIT, BALANCER_UNIT])
def test_a_service_with_another_configuration_in_force_fails(unit: str) -> None:
    check = unit.removesuffix(".service")
    results = judged(**{f"gateway.{unit}": "0" * 64})
    assert bad(results) == {check: ("failed", "another configuration is in force")}


@pytest.mark.parametrize(
    ("state", "status", "words"),
    [
        ("DOWN", "failed", "DOWN"),
        ("DOWN (agent)", "failed", "DOWN (agent)"),
        ("MAINT", "failed", "MAINT"),
        ("no check", "failed", "no check"),
        ("NOLB", "warning", "it is drained"),
        ("DRAIN (agent)", "warning", "it is drained"),
    ],
)
def test_a_slice_that_is_not_up_is_named_and_fails_unless_somebody_drained_it(
    state: str, status: str, words: str
) -> None:
    results = judged(states=UP | {NAMES[1]: state})
    assert bad(results) == {"slices": (status, words)}
    (told,) = [one for one in results if one.check == "slices" and one.status != "ok"]
    assert NAMES[1] in told.expected and told.failed is (status == "failed")
    upstream = PLAN.upstreams[1]
    assert (
        f"`fleet undrain` puts it back into service: {NAMES[1]}"
        if status == "warning"
        else f"on {upstream.host}: `cat /run/ollama-health/{upstream.slice}.*`"
    ) in told.remedy
    (rest,) = [one for one in results if one.check == "slices" and one.status == "ok"]
    assert rest.found == "2 of 3"


def test_a_slice_that_the_balancer_does_not_know_fails() -> None:
    rest = dict.fromkeys(NAMES[1:], "UP")
    assert bad(judged(states=rest)) == {"slices": ("failed", "not known")}


def test_a_balancer_that_tells_nothing_has_no_slice_up() -> None:
    results = judged(**{"gateway.states": ""})
    told = [one for one in results if one.check == "slices" and one.failed]
    assert [one.expected for one in told] == [f"{name} is up" for name in NAMES]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('{"error":"model failed to load"}', '{"error":"model failed to load"}'),
        (
            "curl: (22) The requested URL returned error: 502",
            "curl: (22) The requested URL returned error: 502",
        ),
        ("", "nothing"),
    ],
)
def test_a_slice_that_is_up_and_gives_no_token_through_the_balancer_fails(
    said: str, words: str
) -> None:
    results = judged(said={NAMES[0]: said})
    assert bad(results) == {"inference": ("failed", words)}
    told, rest = [one for one in results if one.check == "inference"]
    assert told.expected == f"a token of {PLAN.upstreams[0].model} from {NAMES[0]}"
    assert "journalctl -u ollama-balancer" in told.remedy and PLAN.upstreams[0].host in told.remedy
    assert rest.found == "2 of 3 asked"


def test_a_slice_of_which_no_answer_came_at_all_fails() -> None:
    results = judged(**{"gateway.answers": f"{NAMES[0]} {WELL}\n{NAMES[2]} {WELL}"})
    assert bad(results) == {"inference": ("failed", "nothing")}


def test_a_slice_that_is_down_is_told_once() -> None:
    """That it gives no token through the balancer is no news then."""
    results = judged(states=UP | {NAMES[0]: "DOWN"}, said={NAMES[0]: "curl: (52) Empty reply"})
    assert bad(results) == {"slices": ("failed", "DOWN")}


def test_a_quick_look_asks_for_no_token_and_judges_none() -> None:
    asked = gateway_questions(PLAN, quick=True)
    assert asked.keys() == gateway_questions(PLAN).keys() - {"gateway.answers"}
    told = read_proof({name: Answer() for name in ("gateway.states", "gateway.front")})
    services = gateway_services(PLAN, Machine())
    found = read_found("gateway", services, {name: Answer() for name in asked})
    assert "inference" not in {one.check for one in judge_gateway(PLAN, services, found, told)}


def test_of_a_large_fleet_one_slice_of_each_host_is_asked() -> None:
    first, second = PLAN.upstreams[0], PLAN.upstreams[2]
    many = [replace(first, slice=f"s{number}") for number in range(MOST_ASKED)]
    large = replace(PLAN, upstreams=(*many, second))
    assert {one.host for one in asked_slices(large)} == {first.host, second.host}
    assert len(asked_slices(large)) == 2


@pytest.mark.parametrize(
    ("plan", "said", "words"),
    [
        (PLAN, "401", None),
        (PLAN, "200", "200"),  # a caller without a key is let in
        (PLAN, "502", "502"),
        (PLAN, "000", "000"),
        (PLAN, "", "no answer"),
        (OPEN, "200", None),
        (OPEN, "401", "401"),
    ],
)
def test_who_brings_no_key_is_refused_unless_none_is_asked_for(
    plan: GatewayPlan, said: str, words: str | None
) -> None:
    results = judged(plan, front=said)
    assert bad(results) == ({"front": ("failed", words)} if words else {})
    (told,) = [one for one in results if one.check == "front"]
    assert told.expected.startswith("401 without a key at" if plan.needs_key else "200 without")
