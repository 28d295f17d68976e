"""What is true of every plan, whatever is wished for on whatever hosts."""

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ollama_fleet.planner.fleet import FleetPlan, plan_fleet
from ollama_fleet.planner.previous import previous_of
from ollama_fleet.spec.fleet import Fleet

CARDS = ("RTX 3060", "RTX 3090", "RTX A6000", "A100-SXM4-40GB", "A30")
CUT = ("A100-SXM4-40GB", "A30")
MODELS = (
    *("qwen3:0.6b", "qwen3:8b", "qwen3:30b", "llama3:70b", "gemma3:12b", "gpt-oss:20b"),
    *("nomic-embed-text", "codellama:13b", "deepseek-r1:32b", "qwen3.5:9b", "tinyllama"),
)
SLOW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)

models = st.sampled_from(MODELS)
servers = st.fixed_dictionaries(
    {},
    optional={
        "parallel": st.sampled_from([1, 4]),
        "kv_cache": st.sampled_from(["f16", "q8_0", "q4_0"]),
    },
)


@st.composite
def hosts(draw: st.DrawFn) -> dict[str, Any]:
    groups = draw(
        st.lists(st.tuples(st.sampled_from(CARDS), st.integers(1, 4)), min_size=1, max_size=2)
    )
    cards = [card for card, count in groups for _ in range(count)]
    order = draw(st.permutations(range(len(cards))))
    reserved = list(order[: draw(st.integers(0, 2))])
    rest = [gpu for gpu in order if gpu not in reserved]
    cut = [gpu for gpu in rest if cards[gpu] in CUT and draw(st.booleans())]
    rest = [gpu for gpu in rest if gpu not in cut]
    size = draw(st.integers(0, min(2, len(rest))))
    written = [{"name": "mine", "gpus": rest[:size], "models": [draw(models)]}] if size else []
    return {
        "gpus": [{"model": card, "count": count} for card, count in groups],
        "reserved": reserved,
        "mig": [{"gpus": [gpu]} for gpu in cut],
        "slices": [item | {"allow_overcommit": True} for item in written],
    }


@st.composite
def wishes(draw: st.DrawFn, number: int, names: list[str]) -> dict[str, Any]:
    pooled = draw(st.booleans())
    found = {
        "name": f"w{number}",
        "models": draw(st.lists(models, min_size=1, max_size=1 if pooled else 2, unique=True)),
        "replicas": draw(st.integers(1, 4)),
        **({"pool": "dev"} if pooled else draw(servers)),
    }
    if not pooled and draw(st.booleans()):
        found["hosts"] = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    return found


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, Any]:
    names = [f"h{number}" for number in range(draw(st.integers(1, 4)))]
    return {
        "version": 1,
        "hosts": {name: draw(hosts()) for name in names},
        "wishes": [draw(wishes(n, names)) for n in range(draw(st.integers(0, 5)))],
    }


def valid(data: dict[str, Any]) -> Fleet:
    try:
        return Fleet.model_validate(data)
    except ValidationError:
        assume(False)
        raise


def planned(data: dict[str, Any], **how: Any) -> tuple[Fleet, FleetPlan]:
    fleet = valid(data)
    return fleet, plan_fleet(fleet, solver_s=0, **how)


@SLOW
@given(fleets(), st.booleans())
def test_no_plan_puts_more_on_a_gpu_than_it_has(data: dict[str, Any], tight: bool) -> None:
    _, found = planned(data, tight=tight)
    for plan in found.hosts.values():
        for memory in plan.memory:
            assert memory.owner == "mine" or memory.fits
            assert (
                memory.owner == "mine"
                or memory.used_mib + 1024 <= memory.usable_mib
                or (not memory.uses)
            )


@SLOW
@given(fleets(), st.booleans())
def test_every_gpu_is_in_one_slice_at_most(data: dict[str, Any], tight: bool) -> None:
    fleet, found = planned(data, tight=tight)
    for name, plan in found.hosts.items():
        used = [gpu for item in plan.slices for gpu in item.gpus]
        assert max(Counter(used).values(), default=0) <= 1
        cut = {int(str(gpu).split("/")[0]) for gpu in used if "/" in str(gpu)}
        assert not cut & set(used)
        assert not set(fleet.hosts[name].reserved) & ({*used} | cut)
        assert len({item.port for item in plan.slices}) == len(plan.slices)
        assert len({item.name for item in plan.slices}) == len(plan.slices)
        assert len(plan.memory) == len({memory.selector for memory in plan.memory})


@SLOW
@given(fleets())
def test_every_slice_has_the_memory_that_it_was_given(data: dict[str, Any]) -> None:
    _, found = planned(data)
    for plan in found.hosts.values():
        owners = {memory.selector: memory.owner for memory in plan.memory}
        for item in plan.slices:
            assert {owners[gpu] for gpu in item.gpus} == {item.name}
        assert plan.slices or set(owners.values()) <= {None}


@SLOW
@given(fleets())
def test_everything_wished_for_is_planned_or_refused(data: dict[str, Any]) -> None:
    fleet, found = planned(data)
    served: Counter[str] = Counter()
    for plan in found.hosts.values():
        for item in plan.slices:
            served.update(item.models if item.wished else ())
    wished: Counter[str] = Counter()
    for wish in fleet.wishes:
        names = [m if ":" in m else f"{m}:latest" for m in wish.all_models]
        wished.update(dict.fromkeys(names, wish.replicas))
    short = {f"wishes[{n}]" for n, w in enumerate(fleet.wishes)}
    assert served <= wished
    assert {refusal.where for refusal in found.refusals} <= short
    assert bool(found.refusals) == (served != wished)


@SLOW
@given(fleets())
def test_a_plan_made_again_is_the_same(data: dict[str, Any]) -> None:
    _, first = planned(data)
    _, second = planned(data)
    assert first == second


@SLOW
@given(fleets())
def test_a_plan_is_kept_when_it_is_planned_from(data: dict[str, Any]) -> None:
    _, first = planned(data)
    assume(not first.refusals)
    _, second = planned(data, previous=previous_of(first.hosts))
    assert second.moved == () and not second.refusals
    assert second.hosts == first.hosts


@SLOW
@given(fleets(), st.integers(0, 5))
def test_a_further_wish_moves_nobody_while_there_is_room(data: dict[str, Any], at: int) -> None:
    _, before = planned(data)
    assume(not before.refusals)
    room = [
        memory
        for plan in before.hosts.values()
        for memory in plan.memory
        if memory.owner is None and not memory.reserved
    ]
    assume(room)
    further = {"name": "further", "model": "tinyllama"}
    more = [*data["wishes"][:at], further, *data["wishes"][at:]]
    _, after = planned(data | {"wishes": more}, previous=previous_of(before.hosts))
    assert not after.refusals and after.moved == ()


@SLOW
@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(1, 8))
def test_replicas_are_on_different_hosts_where_possible(free: list[int], replicas: int) -> None:
    data = {
        "version": 1,
        "hosts": {
            f"h{n}": {
                "gpus": [{"model": "RTX 3090", "count": 4}],
                "reserved": list(range(4 - count)),
            }
            for n, count in enumerate(free)
        },
        "wishes": [{"name": "w", "model": "qwen3:8b", "replicas": replicas}],
    }
    _, found = planned(data)
    counts = [len(plan.slices) for plan in found.hosts.values()]
    assert sum(counts) == min(replicas, sum(free))
    # Nobody has two more than somebody who had room for one more.
    for here, count in enumerate(counts):
        for there, other in enumerate(counts):
            assert count <= other + 1 or other == free[there], (here, there)
