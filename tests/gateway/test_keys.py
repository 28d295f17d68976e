"""API keys in a real nginx: who is known, what each may do, and how many a gateway holds."""

import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from ollama_fleet.keys.rendering import KEYS_FILE, LIMITS_FILE, key_files
from tests.gateway.key_gate import gate
from tests.unit.gateway_keys import gateway_plan, known

MANY = 10_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_files_are_for_root_and_the_gateway_s_group_and_the_same_each_time() -> None:
    keys = [known("ci", rate="5/s", concurrent=2)]
    first, second = key_files(keys, gateway_plan())
    assert (first.path, second.path) == (KEYS_FILE, LIMITS_FILE)
    assert first.mode == second.mode == "0640"
    assert [first, second] == key_files(keys, gateway_plan())


def test_a_key_is_known_by_its_hash_with_what_it_may_do(folder: Path) -> None:
    keys = [
        known("ci", models=["qwen3:8b", "bge-m3"], expires=date(2027, 1, 31)),
        known("all"),
    ]
    with gate(folder, keys) as nginx:
        assert nginx.who("ci") == "ci|qwen3:8b bge-m3:latest|1801440000"
        assert nginx.who("all") == "all|*|"
        assert nginx.who("other") == nginx.who("") == "|*|"


def test_names_that_mean_something_to_nginx_are_names(folder: Path) -> None:
    names = ["default", "hostnames", "include", "volatile", "n-t-r", "0"]
    with gate(folder, [known(name, rate="2/s", models=["m"]) for name in names]) as nginx:
        assert [nginx.who(name) for name in names] == [f"{name}|m:latest|" for name in names]
        assert nginx.codes("default", 3) == [200, 200, 429]
        assert nginx.codes("hostnames", 3) == [200, 200, 429]


def test_no_keys_at_all_let_nobody_in_and_load(folder: Path) -> None:
    with gate(folder, []) as nginx:
        assert nginx.who("ci") == "|*|" and nginx.codes("ci", 1) == [200]


def test_where_nobody_is_asked_nobody_is_known_or_limited(folder: Path) -> None:
    with gate(folder, []) as nginx:
        nginx.write([known("ci", rate="1/m")], keys="none")
        assert "asks nobody for a key" in (folder / "keys.conf").read_text()
        nginx.reload()
        assert nginx.who("ci") == "|*|" and nginx.codes("ci", 3) == [200] * 3


def test_a_rate_is_a_429_for_its_key_alone(folder: Path) -> None:
    keys = [known("a", rate="3/m"), known("b", rate="3/m"), known("c", rate="1/m"), known("free")]
    with gate(folder, keys) as nginx:
        assert nginx.codes("a", 5) == [200, 200, 200, 429, 429]
        assert nginx.codes("b", 4) == [200, 200, 200, 429]
        assert nginx.codes("c", 2) == [200, 429]
        assert nginx.codes("free", 10) == [200] * 10
        assert nginx.codes("unknown", 10) == [200] * 10  # its 401 is the router's


def test_who_is_limited_can_be_told_when_to_come_back(folder: Path) -> None:
    rates = {"a": "7/m", "b": "60/m", "c": "100/s", "d": None}
    with gate(folder, [known(name, rate=rate) for name, rate in rates.items()]) as nginx:
        assert [nginx.get("/retry", name).text for name in rates] == ["9", "1", "1", "1"]


def test_a_rate_fills_up_again_as_time_goes_by(folder: Path) -> None:
    with gate(folder, [known("a", rate="5/s")]) as nginx:
        assert nginx.codes("a", 8)[:5] == [200] * 5
        time.sleep(0.45)
        assert nginx.codes("a", 1) == [200]
        time.sleep(1.1)
        assert nginx.codes("a", 5) == [200] * 5


def test_requests_at_the_same_time_are_counted_for_their_key_alone(folder: Path) -> None:
    keys = [known("a", concurrent=2), known("b", concurrent=2), known("free")]
    with gate(folder, keys) as nginx:
        with nginx.held("a", 30), nginx.held("a", 30):
            assert nginx.codes("a", 2) == [429, 429]
            assert nginx.codes("b", 2) == [200, 200]
            assert nginx.codes("free", 1) == [200]
        until(lambda: nginx.codes("a", 1) == [200])
        assert nginx.codes("a", 5) == [200] * 5  # one that ends by itself gives its place back


def test_who_goes_away_in_the_middle_gives_the_place_back(folder: Path) -> None:
    with gate(folder, [known("a", concurrent=1)]) as nginx:
        with nginx.held("a", 30):
            assert nginx.codes("a", 1) == [429]
        until(lambda: nginx.codes("a", 1) == [200])


def test_a_reload_adds_and_revokes_and_ends_no_request(folder: Path) -> None:
    with gate(folder, [known("old", concurrent=1)]) as nginx:
        with nginx.held("old", 10) as running:
            lines = running.iter_lines()
            next(lines)
            nginx.write([known("old", concurrent=1), known("new", rate="5/s")])
            nginx.reload()
            assert nginx.who("new") == "new|*|"
            assert nginx.codes("old", 1) == [429]  # the running one still counts
            nginx.write([known("new", rate="5/s")])
            nginx.reload()
            assert nginx.who("old") == "|*|"
            assert sum(1 for _ in lines) == 199
        assert "emerg" not in (folder / "error.log").read_text()


def test_a_reload_forgets_no_rate(folder: Path) -> None:
    with gate(folder, [known("a", rate="3/m")]) as nginx:
        assert nginx.codes("a", 4) == [200, 200, 200, 429]
        nginx.write([known("a", rate="3/m"), known("b", rate="3/m")])
        nginx.reload()
        assert nginx.codes("a", 1) == [429] and nginx.codes("b", 1) == [200]


def test_a_changed_rate_holds_after_a_reload(folder: Path) -> None:
    with gate(folder, [known("a", rate="1/m")]) as nginx:
        assert nginx.codes("a", 2) == [200, 429]
        nginx.write([known("a", rate="100/s")])
        nginx.reload()
        assert nginx.codes("a", 5) == [200] * 5


def test_ten_thousand_keys_load_at_once_and_each_is_found(folder: Path) -> None:
    keys = [
        known(
            f"key-{number}",
            models=["qwen3:8b"],
            rate=f"{1 + number % 20}/m",
            concurrent=1 + number % 5,
            expires=date(2027, 1, 31),
        )
        for number in range(MANY)
    ]
    with gate(folder, keys) as nginx:
        began = time.monotonic()
        said = nginx.tested()
        assert time.monotonic() - began < 10
        assert "could not build optimal" not in said and "warn" not in said, said
        for number in (0, 1, 4711, MANY - 1):
            assert nginx.who(f"key-{number}") == f"key-{number}|qwen3:8b|1801440000"
        assert nginx.who(f"key-{MANY}") == "|*|"
        assert nginx.codes("key-20", 2) == [200, 429] == nginx.codes("key-40", 2)


def test_all_kinds_of_limits_that_a_file_may_have_load(folder: Path) -> None:
    keys = [known(f"k{n}", rate=f"{n + 1}/s", concurrent=n + 1) for n in range(64)]
    with gate(folder, keys) as nginx:
        assert nginx.codes("k0", 2) == [200, 429] and nginx.codes("k63", 64) == [200] * 64


def test_the_longest_list_of_models_is_still_read(folder: Path) -> None:
    models = [f"m{number:0190d}:x" for number in range(20)]
    with gate(folder, [known("a", models=models)]) as nginx:
        assert nginx.who("a") == f"a|{' '.join(models)}|"


def test_the_error_log_keeps_no_account_of_who_is_limited(folder: Path) -> None:
    with gate(folder, [known("a", rate="1/m")]) as nginx:
        nginx.codes("a", 3)
        lines = (folder / "error.log").read_text().splitlines()
        assert not [line for line in lines if "limiting" in line and "[info]" not in line]
