"""Disk and RAM against the sizes of the catalogue."""

import subprocess

import pytest

from ollama_fleet.preflight import advice, problems
from ollama_fleet.questions import Answer, question_script, read_answers
from ollama_fleet.room import Room, disk_problems, ram_advice, read_room, room_questions
from tests.unit.examples import host_plan
from tests.unit.test_preflight import GOOD

PLAN = host_plan({"name": "a", "gpus": [0], "models": ["qwen3:8b", "my-own:1b"]})
GIB = 2**30


def test_too_little_disk_is_refused_before_anything_is_pulled() -> None:
    (problem,) = disk_problems(PLAN, Room(2 * GIB, None, frozenset()))
    assert "1 models to pull need 4.9 GiB, and 2.0 GiB are free" in problem
    assert "the largest is qwen3:8b" in problem


def test_what_was_begun_needs_no_room_again() -> None:
    assert disk_problems(PLAN, Room(2 * GIB, None, frozenset(), begun_bytes=3 * GIB)) == []


def test_models_that_are_there_need_no_room() -> None:
    there = frozenset({"registry.ollama.ai/library/qwen3/8b"})
    assert disk_problems(PLAN, Room(0, None, there)) == []


def test_enough_disk_and_an_unknown_one_are_no_problem() -> None:
    assert disk_problems(PLAN, Room(5 * GIB, None, frozenset())) == []
    assert disk_problems(PLAN, Room(None, None, frozenset())) == []


def test_little_ram_is_advice_and_no_refusal() -> None:
    little = Room(None, 6 * GIB, frozenset())
    (line,) = ram_advice(PLAN, little)
    assert "6 GiB of RAM; 8 would be at ease" in line
    assert ram_advice(PLAN, Room(None, 32 * GIB, frozenset())) == []
    from dataclasses import replace

    facts = replace(GOOD, room=little)
    assert problems(PLAN, facts) == [] and advice(PLAN, facts)


def test_a_real_machine_answers() -> None:
    done = subprocess.run(
        ["sh", "-c", question_script(room_questions())], capture_output=True, text=True
    )
    room = read_room(read_answers(done.stdout.splitlines()))
    assert room.free_bytes and room.ram_bytes and room.ram_bytes > 2**28


@pytest.mark.parametrize("text", ["", "df: no such file", "a b"])
def test_a_host_that_does_not_tell_is_not_refused(text: str) -> None:
    answers = {
        "disk": Answer(text, 1),
        "memory": Answer(text),
        "stored": Answer(""),
        "begun": Answer(""),
    }
    assert read_room(answers) == Room(None, None, frozenset())
