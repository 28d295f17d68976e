"""What of a machine decides the gateway's configuration there, and how it is asked for it."""

from dataclasses import dataclass

from ollama_fleet.gateway.packages import MODULE, MODULE_DIRS
from ollama_fleet.questions import Answers

MACHINE_QUESTIONS = {
    "gateway.ipv6": "[ -e /proc/net/if_inet6 ]",
    "gateway.modules": f"for place in {' '.join(MODULE_DIRS)}; do "
    f'[ ! -e "$place/{MODULE}" ] || echo "$place"; done',
}


@dataclass(frozen=True)
class Machine:
    """`modules_dir` holds nginx's dynamic modules; `has_ipv6`: the kernel has IPv6."""

    modules_dir: str = "/usr/lib/nginx/modules"
    has_ipv6: bool = True


def machine_of(answers: Answers) -> Machine:
    """Answers to MACHINE_QUESTIONS."""
    folders = [*answers["gateway.modules"].lines, MODULE_DIRS[0]]
    return Machine(modules_dir=folders[0], has_ipv6=answers["gateway.ipv6"].code == 0)
