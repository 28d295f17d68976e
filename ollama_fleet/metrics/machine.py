"""What of a machine decides what runs there for monitoring, asked and read."""

from dataclasses import dataclass

from ollama_fleet.catalogue.exporters import Exporter, exporter
from ollama_fleet.questions import Answers

# Where NVIDIA's own unit of DCGM's exporter listens, and how it may be called.
SITE_DCGM_PORT = 9400
SITE_DCGM_UNITS = ("nvidia-dcgm-exporter.service", "dcgm-exporter.service")
EXPORTERS = ("node", "mtail", "nginx", "dcgm")


@dataclass(frozen=True)
class Machine:
    """`programs`: exporter to its program. `has_dcgm`: a DCGM exporter of the site's own runs.
    `has_ipv6`: the kernel has IPv6."""

    programs: dict[str, str]
    has_dcgm: bool = False
    has_ipv6: bool = True


def usual_machine() -> Machine:
    """One of which nothing is known yet: each program where it is first looked for."""
    return Machine({name: exporter(name).programs[0] for name in EXPORTERS})


QUESTIONS = {
    "metrics.programs": "\n".join(
        f"for program in {' '.join(exporter(name).programs)}; do "
        f'[ ! -x "$program" ] || {{ echo "{name} $program"; break; }}; done'
        for name in EXPORTERS
    )
    + "\ntrue",
    "metrics.dcgm": f"systemctl is-active -q {' '.join(SITE_DCGM_UNITS)}",
    "metrics.ipv6": "[ -e /proc/net/if_inet6 ]",
}


def read_machine(answers: Answers) -> Machine:
    """Answers to QUESTIONS."""
    found = dict(line.split(maxsplit=1) for line in answers["metrics.programs"].lines)
    return Machine(
        programs=usual_machine().programs | found,
        has_dcgm=answers["metrics.dcgm"].code == 0,
        has_ipv6=answers["metrics.ipv6"].code == 0,
    )


def needed_exporters(gpu: str, is_gateway: bool) -> list[Exporter]:
    """Those that a machine needs to have installed."""
    names = ["node", *(["mtail", "nginx"] if is_gateway else []), *(["dcgm"] * (gpu == "dcgm"))]
    return [exporter(name) for name in names]
