"""What an inventory says of changes becomes turns, and a model with one slice is told beforehand."""

from pathlib import Path

import pytest

from ollama_fleet.load import load_fleet
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.problems import InputError

HEAD = """\
version: 1
gateway: {}
gateways: {gw1: {host: gpu01}}
"""
HOSTS = "hosts:\n" + "".join(
    f"""\
  gpu0{number}:
    gpus: [{{model: RTX 3090, count: 2}}]
    slices:
      - {{name: chat, gpus: [0], models: ["qwen3:8b"]}}
"""
    for number in (1, 2, 3, 4, 5)
)
ALONE = '      - {name: code, gpus: [1], models: ["qwen2.5-coder:7b"]}\n'


def plans(folder: Path, text: str) -> dict[str, HostPlan]:
    path = folder / "fleet.yml"
    path.write_text(text)
    return dict(plan_fleet(load_fleet(path)).required().hosts)


@pytest.mark.parametrize(
    ("rollout", "batch", "has_canary", "canary"),
    [
        ("{}", 1, True, None),
        ("{batch: 3}", 3, True, None),
        ("{batch: 50%, canary: gpu02}", 2, True, "gpu02"),
        ("{batch: 10%, canary: false}", 1, False, None),
    ],
)
def test_batches_are_a_number_or_a_part_of_the_hosts(
    tmp_path: Path, rollout: str, batch: int, has_canary: bool, canary: str | None
) -> None:
    made = plans(tmp_path, f"{HEAD}rollout: {rollout}\n{HOSTS}")["gpu03"].rollout
    assert made and (made.batch, made.has_canary, made.canary) == (batch, has_canary, canary)
    assert made.order == ("gpu01", "gpu02", "gpu03", "gpu04", "gpu05")


def test_the_plan_says_which_model_a_change_takes_away_and_for_how_long(tmp_path: Path) -> None:
    found = plans(tmp_path, HEAD + HOSTS + ALONE)
    (note,) = found["gpu05"].notes
    assert note.startswith(
        "qwen2.5-coder:7b has only gpu05.code: a change takes it away for about "
    )
    assert " s, once its running requests have ended (" in note and "GiB at 500 MiB/s" in note
    assert found["gpu01"].notes == ()


def test_without_a_gateway_nothing_is_said_and_nobody_takes_turns(tmp_path: Path) -> None:
    found = plans(tmp_path, "version: 1\n" + HOSTS + ALONE)
    assert found["gpu05"].rollout is None and found["gpu05"].notes == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{HEAD}rollout: {{canary: gpu1}}\n{HOSTS}", "no host is named 'gpu1'; nearest: gpu01"),
        (f"version: 1\nrollout: {{batch: 2}}\n{HOSTS}", "there is none; add `gateway: {}`"),
        (f"{HEAD}rollout: {{batch: 0}}\n{HOSTS}", "rollout.batch"),
        (f"{HEAD}rollout: {{batch: 101%}}\n{HOSTS}", "rollout.batch"),
    ],
)
def test_a_rollout_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        plans(tmp_path, text)
    assert words in str(error.value)
