"""Slices change one by one, but for those of which one gets what another one still has."""

from pathlib import Path

from ollama_fleet.questions import Answer
from ollama_fleet.rollout.groups import PLACES, Place, groups_of, read_places
from ollama_fleet.rollout.ports import at_ports
from tests.unit.test_rollout import HEAD, plans

A, B, C, OLD = (f"ollama-{name}.service" for name in ("a", "b", "c", "old"))


def place(port: int, *gpus: str) -> Place:
    return Place(port, frozenset(gpus))


FOUND = {A: place(1, "x"), B: place(2, "y"), C: place(3, "z")}


def test_slices_that_stay_where_they_are_change_one_by_one() -> None:
    assert groups_of([A, B, C], [], FOUND, FOUND) == [(A,), (B,), (C,)]


def test_slices_that_swap_gpus_or_ports_change_together() -> None:
    gpus = {A: place(1, "y"), B: place(2, "x"), C: place(3, "z")}
    assert groups_of([A, B, C], [], gpus, FOUND) == [(A, B), (C,)]
    ports = {A: place(1, "x"), B: place(3, "y"), C: place(2, "z")}
    assert groups_of([A, B, C], [], ports, FOUND) == [(A,), (B, C)]


def test_a_chain_of_such_slices_is_one_group() -> None:
    wanted = {A: place(1, "y"), B: place(2, "z"), C: place(3, "w")}
    assert groups_of([A, B, C], [], wanted, FOUND) == [(A, B, C)]


def test_a_slice_that_goes_is_out_before_another_one_gets_its_gpu() -> None:
    found = {**FOUND, OLD: place(9, "w")}
    wanted = {A: place(1, "x"), B: place(2, "w")}
    assert groups_of([A, B], [OLD], wanted, found) == [(A,), (B, OLD)]
    assert groups_of([A], [OLD], wanted, found) == [(A,), (OLD,)]


def test_places_are_read_from_the_units_of_the_host() -> None:
    text = "\n".join(
        f"/etc/systemd/system/ollama-{name}.service:{line}"
        for name, line in (
            ("a", "Description=Ollama slice a on GPU-1, GPU-2"),
            ("a", 'Environment="OLLAMA_HOST=127.0.0.1:11434"'),
            ("b", "Description=Ollama slice b on 0000:17:00.0, MIG 2g.10gb 1"),
            ("b", 'Environment="OLLAMA_HOST=127.0.0.1:11435"'),
            ("loader", 'Environment="OLLAMA_HOST=127.0.0.1:11433"'),
            ("warm-a", "Description=Models of the Ollama slice a, loaded ahead"),
        )
    )
    assert read_places({PLACES: Answer(text)}) == {
        A: place(11434, "GPU-1", "GPU-2"),
        B: place(11435, "0000:17:00.0, MIG 2g.10gb 1"),
    }


TWO = """\
hosts:
  gpu01:
    gpus: [{model: RTX 3090, count: 2}]
    slices:
      - {name: a, gpus: [0], port: 12, models: ["qwen3:0.6b"]}
      - {name: b, gpus: [1], port: 11, models: ["qwen3:0.6b"]}
"""


def test_the_hop_looks_for_a_slice_where_it_listens_now(tmp_path: Path) -> None:
    plan = plans(tmp_path, HEAD + TWO.replace(": 1", ": 1140"))["gpu01"]
    a, b = (item.port for item in plan.slices)

    def ports(found: dict[str, Place], *changed: str) -> dict[str, int]:
        return {item.name: item.port for item in at_ports(plan, found, changed).slices}

    assert ports({}) == {"a": a, "b": b}
    moved = {A: place(12000, "x"), B: place(12001, "y")}
    assert ports(moved) == {"a": 12000, "b": 12001}
    assert ports(moved, A) == {"a": a, "b": 12001}
    assert ports(moved, A, B) == {"a": a, "b": b}
    # Another one is still where the new slice will be.
    assert ports({OLD: place(a, "x"), B: place(b, "y")}) == {"b": b}
