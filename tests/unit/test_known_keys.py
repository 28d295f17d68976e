"""A file of keys that is lost or cut short locks nobody out without a word."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from ollama_fleet.gateway.known_keys import KNOWN, locks_all_out, lost, questions, words
from ollama_fleet.keys.rendering import KEYS_FILE, key_files
from ollama_fleet.planner.api_key import ApiKey
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.questions import Answer, Answers
from tests.unit.gateways import gateways

KEYS = tuple(ApiKey(name, n * 64) for n, name in (("a", "ci"), ("b", "default"), ("c", "web-2")))


def plan(*keys: ApiKey, revoked: tuple[str, ...] = (), needs_key: bool = True) -> GatewayPlan:
    return replace(gateways()["gw1"], keys=keys, revoked=revoked, needs_key=needs_key)


def answers(tmp_path: Path) -> Answers:
    """Of a machine that has the files of all of them."""
    place = tmp_path / "keys.conf"
    place.write_text(key_files(KEYS, plan(*KEYS))[0].text)
    question = questions()[KNOWN].replace(KEYS_FILE, str(place))
    shell = shutil.which("dash") or "sh"
    said = subprocess.run([shell, "-c", question], capture_output=True, text=True, check=True)
    return {KNOWN: Answer(said.stdout)}


def test_without_a_file_of_keys_the_gateway_stays_as_it_is(tmp_path: Path) -> None:
    refused = locks_all_out(plan(), answers(tmp_path))
    assert refused and "ci, default, web-2" in refused and "Put the file" in refused


def test_a_file_of_keys_that_was_begun_anew_is_not_the_gateways(tmp_path: Path) -> None:
    assert locks_all_out(plan(ApiKey("new", "d" * 64)), answers(tmp_path))
    assert locks_all_out(plan(revoked=("ci",)), answers(tmp_path)), "and none is left"


def test_keys_that_are_missing_beside_others_are_named(tmp_path: Path) -> None:
    some = plan(KEYS[0])
    names = lost(some, answers(tmp_path))
    assert names == ["default", "web-2"] and locks_all_out(some, answers(tmp_path)) is None
    assert "default, web-2" in words(names)


def test_revoked_keys_are_not_lost(tmp_path: Path) -> None:
    every = plan(revoked=("ci", "default", "web-2"))
    assert locks_all_out(every, answers(tmp_path)) is None and lost(every, answers(tmp_path)) == []
    assert lost(plan(*KEYS), answers(tmp_path)) == []


def test_a_gateway_that_asks_for_no_keys_needs_none(tmp_path: Path) -> None:
    assert lost(plan(needs_key=False), answers(tmp_path)) == []


def test_a_new_gateway_may_have_none() -> None:
    assert locks_all_out(plan(), {KNOWN: Answer("")}) is None
