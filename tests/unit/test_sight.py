"""What a host's answers show of its GPUs and slices: true numbers, and None for what nobody could tell."""

from dataclasses import replace

from ollama_fleet.checks.examine import examine
from ollama_fleet.checks.outcome import HostOutcome, InstanceSight
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answer
from tests.unit import test_mig_checks as cut
from tests.unit.test_checks import PLAN, assembled, healthy, row


def seen(plan: HostPlan = PLAN, **changes: str) -> HostOutcome:
    texts = assembled(healthy() | changes)
    return examine(plan, {name: Answer(text) for name, text in texts.items()})


def test_a_gpu_shows_what_is_used_and_what_is_planned_on_it() -> None:
    first, second = seen().gpus
    assert (first.name, first.memory_mib, first.used_mib) == ("NVIDIA GeForce RTX 3090", 24576, 100)
    assert first.planned_mib == round(PLAN.memory[0].used_mib)
    assert (first.temperature_c, first.lost, second.index) == (40, False, 1)


def test_a_slice_shows_its_memory_its_speed_and_its_place() -> None:
    chat = seen().slices[0]
    assert (chat.name, chat.gpus, chat.port, chat.models) == ("chat", (0,), 11434, ("qwen3:8b",))
    assert (chat.held_mib, chat.tokens_per_s, chat.drained) == (6100, 90.0, False)
    assert chat.planned_mib == round(PLAN.memory[0].used_mib)


def test_a_host_says_which_driver_it_has() -> None:
    assert seen().driver == "580.95.05"


def test_a_gpu_that_fell_off_is_shown_as_lost() -> None:
    """nvidia-smi still lists it, or only the PCI bus does."""
    told = (
        row(1)
        .replace("NVIDIA GeForce RTX 3090", "[GPU is lost]")
        .replace("24576, 100", "ERR!, ERR!")
    )
    listed = seen(smi=f"{row(0)}\n{told}").gpus[1]
    assert (listed.lost, listed.name, listed.used_mib) == (True, "", None)
    gone = seen(smi=row(0)).gpus[1]
    assert (gone.lost, gone.index, gone.address) == (True, -1, "0000:11:00.0")


def test_slices_that_have_their_gpus_are_shown_beside_one_that_has_none() -> None:
    chat, code = seen(smi=row(0)).slices
    assert (chat.gpus, code.gpus) == ((0,), ())
    assert (chat.tokens_per_s, code.held_mib) == (90.0, None)


def test_what_nobody_tells_is_no_zero() -> None:
    blind = seen(smi=row(0, memory="[N/A]").replace(", 100, 8.6, 40,", ", [N/A], 8.6, [N/A],"))
    assert (blind.gpus[0].used_mib, blind.gpus[0].temperature_c) == (None, None)
    silent = seen(**{"generation chat": "{}"})
    assert silent.slices[0].tokens_per_s is None
    unknown = seen(replace(PLAN, memory=()))
    assert (unknown.gpus[0].planned_mib, unknown.slices[0].planned_mib) == (None, None)


def test_a_generation_that_is_no_generation_has_no_speed() -> None:
    strange = seen(**{"generation chat": '{"eval_count": "many", "eval_duration": 0}'})
    assert strange.slices[0].tokens_per_s is None


def test_instances_are_shown_in_their_places_with_their_slices() -> None:
    texts = {"smi": cut.smi(cut.MIG), "instances": cut.USE}
    answers = {name: Answer(text) for name, text in (cut.healthy() | texts).items()}
    host = examine(cut.PLAN, answers)
    assert host.gpus[0].instances == (
        InstanceSight("2g.20gb", 20096, 12),
        InstanceSight("2g.20gb", 20096, 6100, "chat"),
        InstanceSight("3g.40gb", 40448, None),
    )
    assert (host.slices[0].instance, host.slices[0].gpus) == ("2g.20gb", (0,))
