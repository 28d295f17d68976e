"""A gateway's certificate by ACME, once its nginx serves the challenges."""

from collections.abc import Generator
from typing import Any

from pyinfra import host
from pyinfra.api import operation

from ollama_fleet.authority.acme import acme_questions, acme_steps, read_acme
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script, put_file
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.templating import HostFile


@operation()
def acme_certificate(plan: GatewayPlan) -> Generator[Any, None, None]:
    """
    Ensure that certbot has a certificate for a gateway whose inventory says so, that the gateway has it,
    and that a timer renews it; on others, that certbot does not come in the way.

    Comes after `gateway_certificates`, which gives it one to begin with, and after its nginx runs.

    + plan: what the gateway is to be

    **Example:**

    .. code:: python

        acme_certificate(name="Certificate by ACME", plan=gateway)
    """
    questions = acme_questions(plan)
    answers = ask(questions)
    if not questions.keys() <= answers.keys():
        yield no_answer()
        return
    steps = acme_steps(plan, read_acme(plan, answers))
    if steps:
        parts = [put_file(step) if isinstance(step, HostFile) else step for step in steps]
        yield Script(change_script(parts, plan.environment))
    else:
        host.noop("certbot does what it should")
