"""When the machine's certificates end, as a metric: looked at every hour by a unit that talks to nobody."""

from collections.abc import Sequence

from ollama_fleet.gateway.places import USER as GATEWAY_USER
from ollama_fleet.metrics import places
from ollama_fleet.metrics.catalogue import written_by
from ollama_fleet.services.service import Service
from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile, render

# Path of a certificate, and its name for people.
Certificate = tuple[str, str]


def ends_service(certificates: Sequence[Certificate], of_gateway: bool) -> Service:
    """The timer, and what it starts. `of_gateway`: some certificates are the gateway's or the hop's."""
    unit = render(
        "metrics/ollama-certificates.service.j2",
        marker=MARKER,
        user=places.USER,
        gateway_user=GATEWAY_USER if of_gateway else "",
        script=places.CERTIFICATES_SCRIPT,
        metrics_dir=places.METRICS_DIR,
    )
    (metric,) = written_by("ollama-certificates")
    script = render(
        "metrics/ollama-certificates.sh.j2",
        marker=MARKER,
        metric=metric,
        job=places.CERTIFICATES_JOB,
        file=places.CERTIFICATES_FILE,
    )
    timer = render("metrics/ollama-certificates.timer.j2", marker=MARKER)
    lines = "".join(f"{path} {name}\n" for path, name in certificates)
    files = (
        HostFile(places.CERTIFICATES_JOB, f"# {MARKER}.\n{lines}"),
        HostFile(places.CERTIFICATES_SCRIPT, script, mode="0755"),
        HostFile(f"{UNIT_DIR}/{places.CERTIFICATES_UNIT}", unit),
        HostFile(f"{UNIT_DIR}/{places.CERTIFICATES_TIMER}", timer),
    )
    return Service(places.CERTIFICATES_TIMER, configuration=(), others=files)
