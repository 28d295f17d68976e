"""Proof that a gateway is what was planned: its units, its configuration, the way to every slice."""

from collections.abc import Iterator

from ollama_fleet.authority.places import gateway_places
from ollama_fleet.authority.state import questions as certificate_questions
from ollama_fleet.checks import keys, service_drift, service_ports
from ollama_fleet.checks.certificates import judge_gateway_certificates
from ollama_fleet.checks.model import CheckResult, Status
from ollama_fleet.checks.of_services import judge_service
from ollama_fleet.gateway.gateway import common_files, gateway_services
from ollama_fleet.gateway.machine import MACHINE_QUESTIONS, Machine, machine_of
from ollama_fleet.gateway.proof import WELL, Proof, asked_slices, own_url, read_proof
from ollama_fleet.gateway.proof import questions as proof_questions
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.questions import Answers
from ollama_fleet.services.service import Found, Service, read_found
from ollama_fleet.services.service import questions as service_questions

PREFIX = "gateway"


def gateway_questions(plan: GatewayPlan, quick: bool = False) -> dict[str, str]:
    """Everything that proves a gateway, its hosts having been proved before. `quick`: no slice is asked
    for a token, and who is down is not waited for."""
    services = gateway_services(plan, Machine())
    proof = proof_questions(plan, 1) if quick else proof_questions(plan)
    if quick:
        del proof["gateway.answers"]
    return {
        **MACHINE_QUESTIONS,
        **service_questions(PREFIX, services, common_files()),
        **service_drift.questions(_drifting(plan, services)),
        **keys.questions(),
        **service_ports.questions(),
        **proof,
        **certificate_questions(gateway_places(plan)),
    }


def gateway_results(plan: GatewayPlan, answers: Answers) -> list[CheckResult]:
    """What the answers to `gateway_questions` show."""
    services = gateway_services(plan, machine_of(answers))
    found = read_found(PREFIX, services, answers)
    results = judge_gateway(plan, services, found, read_proof(answers))
    results += keys.judge(plan, found, answers)
    units = service_ports.of_gateway(plan)
    results += service_ports.judge(plan.host, f"{PREFIX} {plan.name}", units, answers)
    results += service_drift.judge(_drifting(plan, services), found, answers)
    return [*results, *judge_gateway_certificates(plan, answers)]


def _drifting(plan: GatewayPlan, services: list[Service]) -> service_drift.Drifting:
    subject = f"{PREFIX} {plan.name}"
    return service_drift.Drifting(plan.host, subject, services, common_files())


def judge_gateway(
    plan: GatewayPlan, services: list[Service], found: Found, proof: Proof
) -> list[CheckResult]:
    """Results of every check of a gateway."""
    return [
        *(judge_service(plan.host, f"gateway {plan.name}", service, found) for service in services),
        *_states(plan, proof),
        *_answers(plan, proof),
        _front(plan, proof),
    ]


def _result(
    plan: GatewayPlan, check: str, status: Status, expected: str, found: str, remedy: str
) -> CheckResult:
    subject = f"gateway {plan.name}"
    said = "" if status == "ok" else remedy
    return CheckResult(plan.host, subject, check, status, expected, found, said)


def _states(plan: GatewayPlan, proof: Proof) -> Iterator[CheckResult]:
    """One result for all slices that are well, and one for each that is not."""
    well = 0
    for upstream in plan.upstreams:
        state = proof.states.get(upstream.name, "not known")
        if state.startswith("UP"):
            well += 1
            continue
        drained = state.startswith(("NOLB", "DRAIN"))
        yield _result(
            plan,
            "slices",
            "warning" if drained else "failed",
            f"{upstream.name} is up",
            "it is drained" if drained else state,
            f"`fleet undrain` puts it back into service: {upstream.name}"
            if drained
            else f"on {upstream.host}: `cat /run/ollama-health/{upstream.slice}.*`, "
            f"`journalctl -u ollama-hop -u ollama-health -u ollama-{upstream.slice}`",
        )
    yield _result(plan, "slices", "ok", "slices are up", f"{well} of {len(plan.upstreams)}", "")


def _answers(plan: GatewayPlan, proof: Proof) -> Iterator[CheckResult]:
    if proof.answers is None:
        return
    asked = asked_slices(plan)
    for upstream in asked:
        said = proof.answers.get(upstream.name) or "nothing"
        if said != WELL and proof.states.get(upstream.name, "").startswith("UP"):
            yield _result(
                plan,
                "inference",
                "failed",
                f"a token of {upstream.model} from {upstream.name}",
                said,
                f"see `journalctl -u ollama-balancer` here, and on {upstream.host} "
                f"`journalctl -u ollama-hop -u ollama-{upstream.slice}`",
            )
    well = sum(said == WELL for said in proof.answers.values())
    yield _result(plan, "inference", "ok", "slices answer", f"{well} of {len(asked)} asked", "")


def _front(plan: GatewayPlan, proof: Proof) -> CheckResult:
    """Who brings no key is refused, or let in where none is asked for."""
    wanted = "401" if plan.needs_key else "200"
    return _result(
        plan,
        "front",
        "ok" if proof.front == wanted else "failed",
        f"{wanted} without a key at {own_url(plan)}",
        proof.front or "no answer",
        "see `journalctl -u ollama-gateway`",
    )
