"""Every file of ours on a host against what the plan renders now; and who made the difference, somebody on
the host or the inventory since the last run.

Asks in the words of the steps that write these files and compares as they do. Content is never shown.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from ollama_fleet import owned
from ollama_fleet.catalogue.distribution import packager_of
from ollama_fleet.checks import driver
from ollama_fleet.checks.compared import Compared, edited, stamp
from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.checks.wording import listed
from ollama_fleet.containers import packages as toolkit
from ollama_fleet.convergence import MANIFEST, digest
from ollama_fleet.driver.decision import is_managed
from ollama_fleet.driver.files import settings
from ollama_fleet.driver.state import read_state as driver_state
from ollama_fleet.firewall.rules import RULES_FILE, UNIT_FILE, rules_file, unit_file
from ollama_fleet.firewall.state import questions as firewall_questions
from ollama_fleet.firewall.state import read_state as firewall_state
from ollama_fleet.gateway.hop import hop_services
from ollama_fleet.gateway.machine import MACHINE_QUESTIONS, Machine, machine_of
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.render import render_host
from ollama_fleet.services.service import Found, Service, files_of, read_found
from ollama_fleet.services.service import questions as service_questions
from ollama_fleet.watch_services import PREFIX as WATCH
from ollama_fleet.watch_services import watch_questions, watch_services

HOST = "host"
TOOLKIT = "containers.own"
HAND = (
    "`pyinfra … deploy.py --dry --diff` shows how it differs, `pyinfra … deploy.py` puts it back; what is "
    "to stay belongs into the inventory"
)
INVENTORY = "`pyinfra … deploy.py` brings the host to it; `--dry --diff` shows what it would change"
# Question of the slices' step to the name that it has here, where "files" may be anybody's.
_OWNED = {name: f"owned.{name}" for name in owned.QUESTIONS}


def _owned_questions(plan: HostPlan) -> dict[str, str]:
    return {_OWNED[name]: text for name, text in owned.QUESTIONS.items()}


def _of_slices(subject: Subject) -> Iterator[Compared]:
    found = owned.read_files(subject.answers["owned.files"].lines)
    rendered = render_host(subject.plan, subject.slices, subject.hardware)
    rendered = owned.but_for_others(rendered, found, subject.text("owned.command"))
    wanted = {file.path: stamp(file) for file in rendered.files}
    left = owned.read_manifest(subject.text("owned.manifest"))
    if not left:
        yield Compared(MANIFEST, None, ("", ""))
    ours = owned.of_slices(subject.plan, found)
    for path in sorted({*wanted, *ours}):
        last = left.get(path, "") if left else None
        yield Compared(path, ours.get(path), wanted.get(path), last)


def _hop_questions(plan: HostPlan) -> dict[str, str]:
    if plan.hop is None:
        return {}
    return {**MACHINE_QUESTIONS, **service_questions("hop", hop_services(plan, Machine()), [])}


def _of_hop(subject: Subject) -> Iterator[Compared]:
    if subject.plan.hop is None:
        return
    services = hop_services(subject.plan, machine_of(subject.answers))
    yield from of_services(services, read_found("hop", services, subject.answers))


def _of_watch(subject: Subject) -> Iterator[Compared]:
    services = watch_services(subject.plan, subject.slices, subject.hardware)
    if services:
        yield from of_services(services, read_found(WATCH, services, subject.answers))


def of_services(services: Sequence[Service], found: Found) -> Iterator[Compared]:
    """The files of some services. Where the planned configuration is in force, and another lies in its
    file, the last run left the planned one."""
    for service in services:
        is_in_force = found.in_force.get(service.unit) == service.digest != ""
        known = service.configuration if is_in_force else ()
        for file in files_of([service]):
            last = digest(file) if file in known else None
            yield Compared(file.path, found.files.get(file.path), stamp(file), last)


def _of_firewall(subject: Subject) -> Iterator[Compared]:
    """By the last rules that were proved it is known what a run has left; the unit is always the same."""
    plan, state = subject.plan.firewall, firewall_state(subject.answers)
    wanted = {} if plan.mode == "off" else {
        file.path: stamp(file) for file in (rules_file(plan, state.found), unit_file())
    }  # fmt: skip
    proved = (state.proved or "").split(" ")[0]
    left = {RULES_FILE: proved, UNIT_FILE: digest(unit_file())} if proved else {}
    for path in sorted({*wanted, *state.digests}):
        found = ("", state.digests[path]) if path in state.digests else None
        yield Compared(path, found, wanted.get(path), left.get(path))


def _of_driver(subject: Subject) -> Iterator[Compared]:
    """Those whose text does not come from the host itself."""
    state = driver_state(subject.answers)
    if not (subject.plan.provision.driver.manage and is_managed(state)):
        return
    for file in settings(packager_of(state.os_id) or "dnf", state.gpu_ids):
        found = ("", state.files[file.path]) if file.path in state.files else None
        yield Compared(file.path, found, stamp(file))


def _toolkit_questions(plan: HostPlan) -> dict[str, str]:
    unwanted = plan.provision.toolkit.install is False
    return {} if unwanted else {TOOLKIT: toolkit.OWN_FILES_QUESTION}


def _of_toolkit(subject: Subject) -> Iterator[Compared]:
    """Where we brought it; its files name the version that is installed."""
    if TOOLKIT not in subject.answers:
        return
    rows = [line.split() for line in subject.answers[TOOLKIT].lines]
    own = {row[2]: (row[0], row[1]) for row in rows if len(row) == 3 and row[0] != "lock"}
    kinds = {toolkit.APT_SOURCE: "apt", toolkit.RPM_SOURCE: "dnf"}
    kind = next((kinds[path] for path in own if path in kinds), None)
    installed = re.findall(r"^installed \S+ (\S+)$", subject.text("containers packages"), re.M)
    if kind is None or len(set(installed)) != 1:
        return
    version = installed[0].removesuffix(toolkit.RELEASE)
    request = replace(subject.plan.provision.toolkit, version=version)
    for file in toolkit.source_files(kind, subject.text("driver.machine").strip(), request):
        yield Compared(file.path, own.get(file.path), stamp(file))


PARTS: tuple[
    tuple[Callable[[HostPlan], Mapping[str, str]], Callable[[Subject], Iterator[Compared]]], ...
] = (
    (_owned_questions, _of_slices),
    (_hop_questions, _of_hop),
    (watch_questions, _of_watch),
    (lambda plan: firewall_questions(plan.firewall), _of_firewall),
    (driver.asked, _of_driver),
    (_toolkit_questions, _of_toolkit),
)


def questions(plan: HostPlan) -> dict[str, str]:
    """What the steps ask that write these files."""
    return {name: text for ask, _ in PARTS for name, text in ask(plan).items()}


def compared(subject: Subject) -> list[Compared]:
    """Every file of ours on this host, as far as its answers go."""
    known = subject.answers.keys()
    return [
        file for ask, read in PARTS if ask(subject.plan).keys() <= known for file in read(subject)
    ]


def _files(subject: Subject) -> Iterator[CheckResult]:
    files = compared(subject)
    wrong = edited(files)
    yield subject.result(
        HOST,
        "files",
        good=not wrong,
        expected="as a run left them",
        found=listed(wrong) if wrong else f"{len(files)} files, nobody has changed one",
        remedy=HAND,
    )
    older = [file.words for file in files if file.by_inventory]
    yield subject.result(
        HOST,
        "inventory",
        good=not older,
        expected="the host has what the inventory says now",
        found=listed(older) if older else "nothing has changed since it was deployed",
        remedy=INVENTORY,
    )


def _rules(subject: Subject) -> Iterator[CheckResult]:
    """Somebody may load other rules into our table and leave our file alone."""
    plan = subject.plan.firewall
    if plan.mode == "off" or not firewall_questions(plan).keys() <= subject.answers.keys():
        return
    state = firewall_state(subject.answers)
    proved = (state.proved or "").partition(" ")[2]
    good = state.table is not None and state.table == proved and not state.is_trial
    yield subject.result(
        HOST,
        "firewall rules",
        good=good,
        expected="the rules that a run has proved are in force",
        found="they are" if good else "others are" if state.table else "none of ours are",
        remedy="`pyinfra … deploy.py` brings them into force and proves them; `nft list table inet "
        "ollama_fleet` shows those that are",
    )


CHECKS = (Check("files", _files, questions), Check("firewall rules", _rules))
