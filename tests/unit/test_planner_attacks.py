"""Plans that once went wrong, each as somebody could write it."""

from pathlib import Path

import pytest
import yaml

from ollama_fleet.hardware.found import Hardware
from ollama_fleet.load import load_fleet
from ollama_fleet.planner.bind import CannotBindError, bind
from ollama_fleet.planner.fleet import FleetPlan, plan_fleet, plan_host
from ollama_fleet.problems import InputError
from ollama_fleet.spec.fleet import HostSpec
from tests.unit.examples import UUIDS, gpu, hardware


def planned(folder: Path, **content: object) -> FleetPlan:
    path = folder / "prod.yml"
    path.write_text(yaml.safe_dump({"version": 1, **content}))
    return plan_fleet(load_fleet(path))


def test_a_wish_that_must_be_on_a_host_is_not_pushed_out_by_one_that_need_not(
    tmp_path: Path,
) -> None:
    gpus = [{"model": "RTX 3090", "count": 1}]
    wishes = [
        {"name": "anywhere", "model": "qwen3:30b"},
        {"name": "here", "model": "qwen3:30b", "hosts": ["a"]},
    ]
    plan = planned(tmp_path, hosts={"a": {"gpus": gpus}, "b": {"gpus": gpus}}, wishes=wishes)
    assert plan.refusals == ()
    assert [item.name for item in plan.hosts["a"].slices] == ["here"]


def test_ports_run_out_upwards_and_go_on_below(tmp_path: Path) -> None:
    host = {
        "gpus": [{"model": "RTX 3090", "count": 8}],
        "slices": [{"name": "high", "gpus": [0], "port": 49151}]
        + [{"name": f"low{n}", "gpus": [n + 1], "port": 11436 + n} for n in range(3)],
        "wishes": [{"name": "w", "model": "qwen3:0.6b", "replicas": 4}],
    }
    ports = [item.port for item in planned(tmp_path, hosts={"a": host}).hosts["a"].slices]
    assert len(set(ports)) == 8 and all(11434 <= port < 49152 for port in ports)


def test_a_reserved_gpu_is_not_to_be_had_by_its_uuid_either() -> None:
    spec = HostSpec.model_validate({"reserved": [0], "slices": [{"name": "x", "gpus": [UUIDS[0]]}]})
    with pytest.raises(CannotBindError, match=r"is reserved; take it out of `reserved:`"):
        bind(plan_host("a", spec), hardware(2))


def test_unified_memory_that_the_driver_does_not_tell_is_not_nothing() -> None:
    found = Hardware((gpu(0, name="NVIDIA GB10", memory_total_mib=None),), ("0000:10:00.0",))
    spec = HostSpec.model_validate({"slices": [{"name": "x", "gpus": [0], "models": ["qwen3:8b"]}]})
    assert plan_host("a", spec, found).memory[0].total_mib > 100_000


def test_packing_tight_is_a_person_s_choice(tmp_path: Path) -> None:
    gpus = [{"model": "RTX 3090", "count": 2}]
    wishes = [{"model": f"qwen3:{size}", "pool": "all"} for size in ("0.6b", "1.7b", "8b")]
    hosts = {"a": {"gpus": gpus}, "b": {"gpus": gpus}}
    tight = planned(tmp_path, hosts=hosts, wishes=wishes, packing="tight")
    assert tight.refusals == () and tight.gpus_used == 1


@pytest.mark.parametrize(
    ("models", "count", "context"),
    [
        (["qwen3:30b", "codellama:34b"], 2, 16384),
        (["qwen3:8b", "llama3:8b", "mistral:7b", "qwen2:7b"], 1, 8192),
        (["llama3:70b"], 1, 4096),
        (["qwen3:32b"], 1, 40960),
        (["deepseek-r1:32b", "qwen3:8b"], 2, 65536),
    ],
)
def test_what_a_refusal_proposes_is_not_refused(
    tmp_path: Path, models: list[str], count: int, context: int
) -> None:
    def plan(changed: dict, number: int = count) -> FleetPlan:
        item = {"name": "x", "gpus": list(range(number)), "models": models, "context": context}
        gpus = [{"model": "RTX 3090", "count": number}]
        return planned(tmp_path, hosts={"a": {"gpus": gpus, "slices": [item | changed]}})

    (refusal,) = plan({}).refusals
    applied = 0
    for line in refusal.nearest:
        if line.startswith("`") and "allow_overcommit" not in line:
            changed = yaml.safe_load(line.split("`")[1])
            assert plan(changed).refusals == (), line
            applied += 1
        elif " × " in line:
            assert plan({}, int(line.split()[0])).refusals == (), line
            applied += 1
    assert applied, refusal


def refused_input(folder: Path, **content: object) -> str:
    with pytest.raises(InputError) as caught:
        planned(folder, **content)
    return str(caught.value)


def test_a_model_without_a_size_is_not_deployed_unchecked(tmp_path: Path) -> None:
    item = {"name": "x", "gpus": [0], "models": ["llama3.3"]}
    host = {"gpus": [{"model": "RTX 3060 12GB"}], "slices": [item]}
    said = refused_input(tmp_path, hosts={"a": host})
    assert "'llama3.3' is no size that can be checked; name one: llama3.3:70b" in said
    own = {"gpus": host["gpus"], "slices": [item | {"models": ["my-own"]}]}
    assert planned(tmp_path, hosts={"a": own}).hosts["a"].notes


def test_pools_and_wishes_of_one_name_are_refused(tmp_path: Path) -> None:
    gpus = {"gpus": [{"model": "RTX 3090", "count": 2}]}
    both = [{"name": "dev", "model": "qwen3:8b"}, {"model": "llama3:8b", "pool": "dev"}]
    assert "'dev' is the name of a wish too" in refused_input(
        tmp_path, hosts={"a": gpus}, wishes=both
    )
    host = gpus | {"wishes": [{"model": "qwen3:8b", "pool": "dev", "context": 16384}]}
    said = refused_input(
        tmp_path, hosts={"a": host}, wishes=[{"model": "llama3:8b", "pool": "dev"}]
    )
    assert "pool 'dev' is written at the fleet's wishes too" in said
