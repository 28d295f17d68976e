"""What a person types on a host: `ollama` for its default slice, `ollama-slice NAME` for each.

Pure; imports the planner's values and the templates.
"""

from collections.abc import Iterator

from ollama_fleet.planner.plan import PREFIX, HostPlan
from ollama_fleet.templating import HostFile, render

COMMAND = "/usr/local/bin/ollama"
SLICE_COMMAND = "/usr/local/bin/ollama-slice"
SLICES_FILE = "/etc/ollama/slices"
PROFILE = "/etc/profile.d/ollama-fleet.sh"
CLIENT = f"{PREFIX}/libexec/ollama-client"
PROGRAM = f"{PREFIX}/current/bin/ollama"


def files(plan: HostPlan) -> Iterator[HostFile]:
    """The commands and the list that they read. COMMAND is only wanted where no one else has put a
    program of that name."""
    default = plan.default_slice
    yield HostFile(SLICES_FILE, render("slices.j2", slices=plan.slices, default=default))
    client = render("ollama-client.sh.j2", program=PROGRAM, slices=SLICES_FILE)
    yield HostFile(CLIENT, client, mode="0755")
    by_name = render("ollama-slice.sh.j2", client=CLIENT, slices=SLICES_FILE)
    yield HostFile(SLICE_COMMAND, by_name, mode="0755")
    command = render("ollama.sh.j2", client=CLIENT, default=default)
    yield HostFile(COMMAND, command, mode="0755")
    if default:
        yield HostFile(PROFILE, render("ollama-profile.sh.j2", default=default))
