"""A reboot happens only when one is needed and allowed."""

from dataclasses import replace

import pytest

from ollama_fleet.driver.reboot import policy, reboot_reasons, refusal, unsafe
from ollama_fleet.driver.state import KernelState, State
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.provision import DriverRequest, Provision
from tests.unit.driver_hosts import KERNEL, bare, driven, managed
from tests.unit.examples import host_plan


def plan(**provision: object) -> HostPlan:
    return replace(host_plan(), provision=replace(Provision(), **provision))


def on_disk(version: str | None, release: str = KERNEL) -> KernelState:
    return KernelState(release, True, version, "open")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (managed(loaded=None, nouveau=True), "nouveau holds"),
        (managed(kernels=(on_disk("595.58.03"),)), "580.95.05 is loaded, but 595.58.03"),
        (managed(library="595.58.03", kernels=(on_disk(None),)), "but the user space is 595.58.03"),
        (
            bare(kernels=(on_disk(None), on_disk("580.95.05", "6.1.0-30-amd64"))),
            "6.1.0-30-amd64 has one",
        ),
    ],
)
def test_reasons_are_named(state: State, words: str) -> None:
    (reason,) = reboot_reasons(plan(), state)
    assert words in reason


@pytest.mark.parametrize("state", [driven(), managed(), bare()])
def test_without_a_reason_there_is_no_reboot(state: State) -> None:
    assert reboot_reasons(plan(), state) == []


def test_a_driver_that_is_not_ours_to_manage_never_reboots_the_host() -> None:
    asked = plan(driver=DriverRequest(manage=False))
    assert reboot_reasons(asked, managed(nouveau=True)) == []


def test_a_host_that_serves_is_not_rebooted_without_a_word() -> None:
    serves = managed(slices=("ollama-chat.service",))
    assert policy(plan(), managed()) == "auto"
    assert policy(plan(), serves) == "never"
    assert policy(plan(reboot="auto"), serves) == "auto"


@pytest.mark.parametrize(
    ("asked", "words"),
    [(None, "ollama-chat.service"), ("never", "reboot: never"), ("ask", "at a terminal")],
)
def test_a_reboot_that_is_not_allowed_is_explained(asked: str | None, words: str) -> None:
    said = refusal(["nouveau holds the GPUs"], managed(slices=("ollama-chat.service",)), asked)
    assert "nouveau holds" in said[0] and words in said[1] and "reboot: auto" in said[1]


def test_pain_2_no_reboot_into_a_kernel_without_the_driver() -> None:
    newer = on_disk(None, "6.1.0-30-amd64")
    words = unsafe(driven(kernels=(on_disk("580.95.05"), newer)))
    assert words and "6.1.0-30-amd64" in words and "without GPUs" in words
    assert unsafe(driven()) is None
    assert (
        unsafe(driven(kernels=(on_disk("580.95.05"), on_disk("580.95.05", newer.release)))) is None
    )
