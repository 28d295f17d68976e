"""What a plan makes of slices and wishes: which GPUs, which ports, and which words where it cannot."""

from typing import Any

import pytest

from ollama_fleet.planner.fleet import FleetPlan, plan_fleet, plan_host
from ollama_fleet.planner.found import memory_problems
from ollama_fleet.planner.previous import from_json, previous_of, to_json
from ollama_fleet.planner.refusal import PlanRefusedError
from ollama_fleet.planner.windows import choose
from ollama_fleet.spec.fleet import Fleet, HostSpec
from tests.unit.examples import UUIDS, hardware

TWO = {"gpus": [{"model": "RTX 3090", "count": 2}]}
EIGHT = {"gpus": [{"model": "RTX 3090", "count": 8}]}
A100 = {"gpus": [{"model": "A100-SXM4-40GB"}]}
SMALL = {"model": "qwen3:0.6b"}
LARGE = {"model": "llama3:70b", "context": 8192}


def fleet(hosts: dict[str, Any], *wishes: dict[str, Any], **more: Any) -> Fleet:
    return Fleet.model_validate({"version": 1, "hosts": hosts, "wishes": list(wishes), **more})


def plan(hosts: dict[str, Any], *wishes: dict[str, Any], **how: Any) -> FleetPlan:
    return plan_fleet(fleet(hosts, *wishes), **how)


def seats(found: FleetPlan) -> dict[str, tuple[int | str, ...]]:
    """`gpu01/chat` to its GPUs."""
    return {f"{host}/{s.name}": s.gpus for host, p in found.hosts.items() for s in p.slices}


def refused(found: FleetPlan) -> str:
    with pytest.raises(PlanRefusedError) as caught:
        found.required("prod.yml")
    return str(caught.value)


def written(*models: str, **more: Any) -> dict[str, Any]:
    return {"name": "chat", "gpus": [0], "models": list(models), **more}


# Slices that a person wrote


def test_a_slice_that_does_not_fit_is_refused_with_the_sum_and_what_would_fit() -> None:
    host = TWO | {"slices": [written("qwen3:32b", context=40960)]}
    said = refused(plan({"a": host}))
    assert said.startswith("prod.yml hosts.a.slices[0]: its models need ")
    assert "GPU 0: qwen3:32b " in said and " of 24159 MiB" in said
    assert "what fits: " in said and "`context: " in said and "2 × RTX 3090" in said
    assert "`allow_overcommit: true`" in said


def test_every_proposed_context_really_fits() -> None:
    (refusal,) = plan({"a": TWO | {"slices": [written("qwen3:32b", context=40960)]}}).refusals
    (context,) = (text for text in refusal.nearest if text.startswith("`context: "))
    tokens = int(context.strip("`").split()[1])
    assert not plan({"a": TWO | {"slices": [written("qwen3:32b", context=tokens)]}}).refusals


def test_overcommit_that_is_allowed_is_deployed_and_said() -> None:
    host = TWO | {"slices": [written("qwen3:32b", context=40960, allow_overcommit=True)]}
    found = plan({"a": host}).required().hosts["a"]
    assert found.slices[0].gpus == (0,)
    assert "deployed because of allow_overcommit" in found.notes[0]
    assert not found.memory[0].fits


def test_written_slices_keep_their_gpus_and_ports_beside_wishes() -> None:
    host = TWO | {"slices": [written("qwen3:8b", gpus=[1], port=12000)]}
    found = plan({"a": host}, SMALL).required().hosts["a"]
    assert [(s.name, s.gpus, s.port) for s in found.slices] == [
        ("chat", (1,), 12000),
        ("qwen3-0-6b", (0,), 11434),
    ]


def test_a_model_that_only_its_registry_knows_is_deployed_unchecked() -> None:
    found = plan({"a": TWO | {"slices": [written("hf.co/me/mine:Q4_K_M")]}}).required()
    assert "its memory is not checked" in found.hosts["a"].notes[0]
    assert found.hosts["a"].memory[0].unchecked == ("hf.co/me/mine:Q4_K_M",)


def test_two_gpus_for_what_fits_one_leave_the_other_empty_and_that_is_said() -> None:
    found = plan({"a": TWO | {"slices": [written("qwen3:8b", gpus=[0, 1])]}}).required().hosts["a"]
    assert [bool(memory.uses) for memory in found.memory] == [True, False]
    assert "GPU 1 stays empty" in found.notes[0]


def test_spread_splits_what_would_fit_one_gpu() -> None:
    host = TWO | {"slices": [written("qwen3:8b", gpus=[0, 1], env={"OLLAMA_SCHED_SPREAD": 1})]}
    found = plan({"a": host}).required().hosts["a"]
    assert all(memory.uses for memory in found.memory) and not found.notes


def test_models_that_would_evict_each_other_are_said() -> None:
    host = TWO | {"slices": [written("gemma3:12b", "qwen3:8b", context=32768, kv_cache="q8_0")]}
    notes = plan({"a": host}).required().hosts["a"].notes
    assert any("may unload one of them" in note for note in notes)


def test_a_host_that_names_no_gpus_is_planned_without_arithmetic() -> None:
    found = plan({"a": {"slices": [written("llama3:70b")]}}).required().hosts["a"]
    assert found.memory == () and found.slices[0].gpus == (0,)


def test_found_hardware_counts_more_than_what_is_written() -> None:
    spec = HostSpec.model_validate({"slices": [written("llama3:70b", gpus=[UUIDS[1]])]})
    with pytest.raises(PlanRefusedError, match=r"hosts\.a\.slices\[0\]"):
        plan_host("a", spec, hardware(2))


def test_a_host_that_named_no_gpus_is_checked_when_it_has_been_asked() -> None:
    small, large = written("qwen3:8b"), written("llama3:70b", name="big", gpus=[1])
    (said,) = memory_problems(
        plan_host("a", HostSpec.model_validate({"slices": [small, large]})), hardware(2)
    )
    assert said.startswith("slice 'big': its models need ") and "GPU 1: llama3:70b" in said
    allowed = plan_host(
        "a", HostSpec.model_validate({"slices": [large | {"allow_overcommit": True}]})
    )
    assert memory_problems(allowed, hardware(2)) == []


def test_a_slice_named_by_uuid_hides_its_gpu_from_wishes_until_the_host_is_asked() -> None:
    host = TWO | {"slices": [written("qwen3:8b", gpus=[UUIDS[1]])], "wishes": [SMALL]}
    assert "slices of a name GPUs by UUID or address" in refused(plan({"a": host}))
    found = plan({"a": host}, hardware={"a": hardware(2)}).required()
    assert seats(found)["a/qwen3-0-6b"] == (0,)


# Wishes


def test_a_large_model_gets_two_neighbours_and_is_spread_over_them() -> None:
    host = EIGHT | {"reserved": [1]}
    found = plan({"a": host}, LARGE).required()
    assert seats(found) == {"a/llama3-70b": (2, 3)}
    assert found.hosts["a"].slices[0].environment["OLLAMA_SCHED_SPREAD"] == "1"


def test_gpus_joined_by_nvlink_are_taken_together() -> None:
    host = EIGHT | {"neighbours": [[0, 4], [1, 5], [2, 6], [3, 7]]}
    assert seats(plan({"a": host}, LARGE).required()) == {"a/llama3-70b": (0, 4)}


def test_small_models_leave_pairs_whole() -> None:
    found = plan({"a": EIGHT}, SMALL | {"replicas": 2}, LARGE | {"replicas": 3}).required()
    assert seats(found)["a/llama3-70b"] == (2, 3)
    assert {seats(found)["a/qwen3-0-6b"], seats(found)["a/qwen3-0-6b-2"]} == {(0,), (1,)}


def test_the_smallest_card_that_fits_is_taken() -> None:
    hosts = {"big": A100, "small": {"gpus": [{"model": "RTX 3060"}]}}
    assert list(seats(plan(hosts, SMALL).required())) == ["small/qwen3-0-6b"]
    assert list(seats(plan(hosts, SMALL | {"gpu": "A100-SXM4-40GB"}))) == ["big/qwen3-0-6b"]


def test_replicas_are_on_different_hosts_and_double_up_only_when_they_must() -> None:
    found = plan({"a": EIGHT, "b": EIGHT}, SMALL | {"name": "x", "replicas": 3}).required()
    assert list(seats(found)) == ["a/x", "a/x-2", "b/x"]


def test_reserved_gpus_are_left_alone() -> None:
    found = plan({"a": TWO | {"reserved": [0]}}, SMALL).required()
    assert seats(found) == {"a/qwen3-0-6b": (1,)}
    assert found.hosts["a"].memory[0].reserved


def test_a_wish_stays_on_the_hosts_that_it_names() -> None:
    hosts = {"gpu01": TWO, "gpu02": TWO, "big01": TWO}
    found = plan(hosts, SMALL | {"hosts": ["big*"], "replicas": 2}).required()
    assert all(name.startswith("big01/") for name in seats(found))


def test_several_models_of_one_wish_share_a_gpu() -> None:
    found = plan({"a": TWO}, {"name": "both", "models": ["qwen2:7b", "codellama:7b"]}).required()
    (item,) = found.hosts["a"].slices
    assert item.models == ("qwen2:7b", "codellama:7b")
    assert item.environment["OLLAMA_MAX_LOADED_MODELS"] == "2"
    assert len(found.hosts["a"].memory[0].uses) == 2


def test_wishes_of_a_pool_share_gpus_and_others_do_not() -> None:
    small = [{"model": m, "pool": "dev"} for m in ("qwen3:8b", "llama3:8b", "qwen3:0.6b")]
    found = plan({"a": EIGHT}, *small, {"model": "qwen3:1.7b"}).required()
    assert seats(found) == {"a/dev": (0,), "a/qwen3-1-7b": (1,)}
    assert found.hosts["a"].slices[0].models == ("qwen3:8b", "llama3:8b", "qwen3:0.6b")


def test_replicas_in_a_pool_are_on_different_hosts() -> None:
    pooled = {"model": "qwen3:8b", "pool": "dev", "replicas": 2}
    assert set(seats(plan({"a": TWO, "b": TWO}, pooled).required())) == {"a/dev", "b/dev"}


def test_a_short_context_is_said_where_a_model_has_no_longer_one() -> None:
    found = plan({"a": TWO}, {"name": "x", "models": ["qwen3:8b", "tinyllama"]}).required()
    assert found.hosts["a"].notes == (
        "x: tinyllama:latest was trained for 2048 tokens and gets no more",
    )


# MIG


def test_instances_are_chosen_from_the_wishes_the_largest_first() -> None:
    host = A100 | {"mig": [{"gpus": [0]}]}
    found = plan({"a": host}, {"model": "qwen3:4b"}, {"model": "qwen3:14b"}).required().hosts["a"]
    assert found.mig == ((0, ("3g.20gb", "1g.5gb")),)
    assert {s.name: s.gpus for s in found.slices} == {
        "qwen3-4b": ("0/1g.5gb/0",),
        "qwen3-14b": ("0/3g.20gb/0",),
    }


def test_instances_that_are_written_are_used_as_they_are() -> None:
    host = A100 | {"mig": [{"gpus": [0], "profiles": ["2g.10gb", "3g.20gb"]}]}
    found = plan({"a": host}, SMALL, SMALL | {"name": "b", "mig": "3g.20gb"}).required().hosts["a"]
    assert found.mig == ((0, ("3g.20gb", "2g.10gb")),)
    assert [s.gpus for s in found.slices] == [("0/2g.10gb/0",), ("0/3g.20gb/0",)]


def test_a_wish_without_mig_gets_a_whole_gpu() -> None:
    host = {"gpus": [{"model": "A100-SXM4-40GB", "count": 2}], "mig": [{"gpus": [0]}]}
    found = plan({"a": host}, SMALL | {"mig": False}).required()
    assert seats(found) == {"a/qwen3-0-6b": (1,)} and found.hosts["a"].mig == ()


def test_no_instance_is_promised_that_the_card_cannot_hold() -> None:
    host = A100 | {"mig": [{"gpus": [0]}]}
    found = plan({"a": host}, {"model": "qwen3:14b", "replicas": 3})
    assert found.hosts["a"].mig == ((0, ("3g.20gb", "3g.20gb")),)
    assert "only 2 of 3 replicas have a place" in refused(found)


# Refusals of wishes


def test_what_fits_no_host_is_refused_with_the_sum_and_the_nearest() -> None:
    said = refused(plan({"a": A100}, {"model": "llama3:70b"}))
    assert "wishes[0]: 'llama3-70b' does not fit one A100-SXM4-40GB" in said
    assert "(llama3:70b " in said and "MiB)" in said
    for change in ("`kv_cache: q8_0`", "llama3:8b in place of", "2 × A100-SXM4-40GB"):
        assert change in said


def test_what_has_no_gpu_left_is_refused_with_what_is_free() -> None:
    said = refused(plan({"a": TWO | {"reserved": [0]}}, SMALL, LARGE | {"gpus": 2}))
    assert "wishes[1]" in said and "wishes[0]" not in said
    said = refused(plan({"a": TWO}, SMALL | {"replicas": 5}))
    assert "only 2 of 5 replicas" in said and "`replicas: 2`" in said and "3 more RTX 3090" in said


def test_a_wish_without_a_gpu_is_told_whose_it_could_share() -> None:
    said = refused(plan({"a": {"gpus": [{"model": "RTX 3090"}]}}, {"model": "qwen3:8b"}, SMALL))
    assert "one `pool:` with 'qwen3-8b'" in said


def test_a_host_that_names_no_gpus_cannot_take_wishes() -> None:
    assert "do not say which GPUs they have" in refused(plan({"a": {}}, SMALL))


def test_all_refusals_are_said_at_once() -> None:
    host = TWO | {"slices": [written("llama3:70b")]}
    assert len(refused(plan({"a": host}, LARGE, {"model": "qwen3:235b"})).splitlines()) == 3


# Stability


def test_a_wish_at_the_end_moves_nobody() -> None:
    first = [SMALL, LARGE, {"model": "qwen3:30b", "replicas": 2}]
    before = plan({"a": EIGHT, "b": TWO}, *first).required()
    after = plan({"a": EIGHT, "b": TWO}, *first, {"model": "yi:34b"}).required()
    assert seats(before).items() <= seats(after).items()


def test_with_the_earlier_plan_a_wish_anywhere_moves_nobody() -> None:
    hosts = {"a": EIGHT, "b": TWO}
    before = plan(hosts, SMALL, LARGE).required()
    previous = from_json(to_json(previous_of(before.hosts)))
    after = plan(hosts, {"model": "yi:34b"}, LARGE, SMALL, previous=previous).required()
    assert seats(before).items() <= seats(after).items() and after.moved == ()


def test_a_removed_wish_frees_its_gpus_and_moves_nobody() -> None:
    before = plan({"a": EIGHT}, SMALL, LARGE, {"model": "yi:34b"}).required()
    after = plan({"a": EIGHT}, {"model": "yi:34b"}, previous=previous_of(before.hosts)).required()
    assert seats(after)["a/yi-34b"] == seats(before)["a/yi-34b"]
    assert set(after.moved) == {"a/qwen3-0-6b", "a/llama3-70b"}


def test_slices_move_when_that_is_the_only_way() -> None:
    one_each = [SMALL | {"name": "x"}, SMALL | {"name": "y"}]
    hosts = {"a": TWO, "b": TWO}
    before = plan(hosts, *one_each, {"model": "yi:34b", "hosts": ["b"]}).required()
    after = plan(hosts, *one_each, LARGE, previous=previous_of(before.hosts))
    assert not after.refusals and seats(after)["b/llama3-70b"] == (0, 1)


def test_a_pool_stays_where_it_was() -> None:
    pooled = [{"model": m, "pool": "dev"} for m in ("qwen3:8b", "llama3:8b")]
    before = plan({"a": EIGHT}, *pooled).required()
    more = [LARGE, {"model": "qwen3:0.6b", "pool": "dev"}, *pooled]
    after = plan({"a": EIGHT}, *more, previous=previous_of(before.hosts)).required()
    assert seats(after)["a/dev"] == (0,) and len(after.hosts["a"].slices[0].models) == 3


def test_ports_follow_the_first_gpu() -> None:
    found = plan({"a": EIGHT}, LARGE, SMALL).required().hosts["a"]
    assert [(s.gpus[0], s.port) for s in found.slices] == [(0, 11434), (2, 11436)]


# The arithmetic explains itself


def test_every_gpu_says_what_takes_its_memory() -> None:
    found = plan({"a": TWO}, {"model": "qwen3:8b", "context": 8192}).required().hosts["a"]
    lines = found.memory[0].explain()
    assert lines[0] == "RTX 3090: 24159 MiB usable of 24576"
    assert any("kv cache: 36 layers × 8 KV heads" in line for line in lines)
    assert lines[-1].endswith("MiB free") and found.memory[1].free_mib == 24159


def test_a_model_and_a_gpu_of_one_s_own_are_planned_with() -> None:
    own = {
        "name": "NVIDIA Mine",
        "vram_mib": 8192,
        "compute_capability": "8.6",
        "bandwidth_gb_s": 300,
    }
    found = plan_fleet(
        fleet({"a": {"gpus": [{"model": "Mine"}]}}, SMALL, catalogue={"gpus": [own]})
    ).required()
    assert found.hosts["a"].memory[0].total_mib == 8192


# Which GPUs


@pytest.mark.parametrize(
    ("free", "gpus", "expected"),
    [
        (0b11111111, 1, (0,)),
        (0b11110111, 1, (2,)),  # the broken pair before whole ones
        (0b11111110, 2, (2, 3)),
        (0b10010000, 2, (4, 7)),
        (0b11111101, 4, (4, 5, 6, 7)),
        (0b00000001, 2, None),
    ],
)
def test_neighbours_are_chosen(free: int, gpus: int, expected: tuple[int, ...] | None) -> None:
    assert choose(free, gpus) == expected
