"""Pins in group_data: only their own lines change, and a release does not change under its version."""

import ast
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_fleet.release.pins import (
    PinError,
    current_version,
    pinned,
    read_pins,
    with_version,
    write_atomically,
)

ROOT = Path(__file__).parents[2]
A, B = ({"amd64": letter * 64, "arm64": letter * 63 + "0"} for letter in "ab")
FILE = b'''"""What hosts run, in \xc3\xa4ll."""

ollama_version = "0.32.14"  # not .13: it hangs
ollama_pins = {
    # the one that works
    "0.32.14": {
        "amd64": "%s",
        "arm64": "%s",
    },
}
other = {"a": [1, 2]}  # stays
''' % (A["amd64"].encode(), A["arm64"].encode())
VERSIONS = st.tuples(*[st.integers(0, 99)] * 3).map(lambda v: ".".join(map(str, v)))
SUMS = st.dictionaries(
    st.sampled_from(["amd64", "arm64"]),
    st.text("0123456789abcdef", min_size=64, max_size=64),
    min_size=1,
)


def test_the_shipped_file_takes_a_pin_and_keeps_its_words() -> None:
    shipped = (ROOT / "group_data/all.py").read_bytes()
    after = with_version(pinned(shipped, "0.32.16", A), "0.32.16")
    assert read_pins(after)["0.32.16"] == A and current_version(after) == "0.32.16"
    assert b"# Seconds that verification gives" in after


def test_a_new_pin_is_put_beside_the_others_and_nothing_else_changes() -> None:
    after = pinned(FILE, "0.32.15", B)
    assert read_pins(after) == {"0.32.15": B, "0.32.14": A}
    new = [line for line in after.splitlines() if line not in FILE.splitlines()]
    kept = [line for line in after.splitlines() if line in FILE.splitlines()]
    assert len(new) == 3 and b'"0.32.15": {' in new[0]
    assert [line for line in FILE.splitlines() if line not in kept] == []
    assert b"# the one that works" in after


def test_the_version_is_one_value_and_its_comment_stays() -> None:
    after = with_version(FILE, "0.32.15")
    assert after == FILE.replace(b'"0.32.14"  #', b'"0.32.15"  #')
    assert with_version(after, "0.32.14") == FILE


def test_what_is_pinned_already_changes_nothing() -> None:
    assert pinned(FILE, "0.32.14", A) == FILE
    assert pinned(FILE, "0.32.14", {"amd64": A["amd64"]}) == FILE


def test_a_release_that_changed_under_its_version_is_refused_with_both_values() -> None:
    with pytest.raises(PinError) as caught:
        pinned(FILE, "0.32.14", B)
    said = str(caught.value)
    assert A["amd64"] in said and B["amd64"] in said and "--replace" in said


def test_replaced_it_is_the_new_one_alone() -> None:
    after = pinned(FILE, "0.32.14", {"amd64": B["amd64"]}, replace=True)
    assert read_pins(after) == {"0.32.14": {"amd64": B["amd64"]}}
    assert b"# the one that works" in after


def test_an_architecture_that_was_missing_is_added() -> None:
    half = pinned(b"ollama_pins = {}\n", "0.32.15", {"amd64": A["amd64"]})
    assert read_pins(pinned(half, "0.32.15", A)) == {"0.32.15": A}


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"ollama_pins = {}",
        b"ollama_pins: dict[str, dict[str, str]] = {}\r\nx = 1\r\n",
        b"x = '\xc3\xa4'; ollama_pins = {}; y = 2\n",
        b'ollama_pins = {"0.1.2": {"amd64": "x"}}\n',
        b'ollama_pins = {"0.1.2": {"amd64": "x"},\n    "0.1.3": {}}\n',
        b"ollama_pins = (\n    {}\n)\n",
        b"ollama_pins = {\n}\n",
        b"ollama_pins = {  # all\n}\n",
        b"# no version, no pins",
    ],
)
def test_other_ways_of_writing_it_are_understood(source: bytes) -> None:
    before = read_pins(source)
    after = pinned(source, "0.32.15", A)
    assert read_pins(after) == {**before, "0.32.15": A}
    assert read_pins(pinned(after, "0.32.16", B)) == {**before, "0.32.15": A, "0.32.16": B}
    assert current_version(with_version(after, "0.32.15")) == "0.32.15"
    assert (b"\r\n" in source) == (b"\r\n" in after)
    assert not (b"\r\n" in source and after.count(b"\n") != after.count(b"\r\n"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"ollama_pins = dict(a={})\n", "ollama_pins is computed"),
        (b"ollama_pins = {}\nollama_pins = {}\n", "is to be assigned once"),
        (b"ollama_pins: dict\n", "is to be assigned once"),
        (b"ollama_pins = []\n", "is no map"),
        (b"ollama_pins = {'a': 1}\n", "is no map"),
        (b"ollama_pins = {\n", "is no Python file"),
    ],
)
def test_what_a_program_cannot_change_is_left_alone(source: bytes, words: str) -> None:
    with pytest.raises(PinError, match=words):
        pinned(source, "0.32.15", A)


@given(st.lists(st.tuples(VERSIONS, SUMS), max_size=6), VERSIONS)
def test_any_row_of_pins_ends_with_the_last_of_each_and_valid_python(
    given_pins: list, version: str
) -> None:
    source, wanted = FILE, {"0.32.14": A}
    for name, sums in given_pins:
        source, wanted = pinned(source, name, sums, replace=True), {**wanted, name: sums}
        wanted[name] = read_pins(source)[name]
        assert sums.items() <= wanted[name].items()
    source = with_version(source, version)
    assert read_pins(source) == wanted and current_version(source) == version
    assert source.endswith(b'other = {"a": [1, 2]}  # stays\n')
    assert ast.get_docstring(ast.parse(source)) == "What hosts run, in äll."


def test_it_is_written_at_once_with_its_mode_and_through_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.py", tmp_path / "all.py"
    real.write_bytes(FILE)
    real.chmod(0o640)
    link.symlink_to(real)
    write_atomically(link, b"x = 1\n")
    assert real.read_bytes() == b"x = 1\n" and link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.py", "real.py"]
