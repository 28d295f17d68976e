"""What a machine without slices is asked for itself, with the questions of one of its parts."""

from collections.abc import Mapping

from pyinfra import host

from ollama_fleet.checks import own_machine
from ollama_fleet.checks.own_machine import Part
from ollama_fleet.host.answers import recall

# By host name. The question for the clock says when it was made, so it is another one each time.
_asked: dict[str, dict[str, str]] = {}


def with_own(part: Part, wanted: Mapping[str, str]) -> dict[str, str]:
    """The questions of a part, and those about the machine itself where this part is the one to tell. What
    was asked before in this run is asked in the same words for as long as its answers hold."""
    kinds = ("mirror", "gateway", "monitor")
    mirror, gateway, monitor = (host.data.get(f"{kind}_plan") for kind in kinds)
    if own_machine.teller(host.data.get("plan"), mirror, gateway, monitor) != part:
        return dict(wanted)
    before = _asked.get(host.name, {})
    if before and recall(before).keys() == before.keys():
        return {**wanted, **before}
    asked = own_machine.questions(wanted, has_monitor=monitor is not None)
    _asked[host.name] = {name: text for name, text in asked.items() if name not in wanted}
    return asked
