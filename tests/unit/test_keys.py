"""API keys: what the file may say, what `fleet key` does to it, and who gets to know."""

import os
import re
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ollama_fleet.cli.app import app
from ollama_fleet.inventory import fleet_hosts, load
from ollama_fleet.keys.kept import changing_keys, keys_in_force, keys_path_of, read_keys
from ollama_fleet.keys.making import KeyFormError, digest_of, last_day, new_key, read_digest, today
from ollama_fleet.load import load_fleet
from ollama_fleet.problems import InputError
from tests.unit.fleet_cli import fleet, fleet_json
from tests.unit.gateway_keys import LOOPBACK, digest, known, spec, write_inventory

LATER = "--no-deploy"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return write_inventory(tmp_path)


def write_keys(inventory: Path, text: str) -> Path:
    path = keys_path_of(inventory)
    path.write_text(text)
    return path


def entry(text: str = "") -> str:
    return f"version: 1\nkeys:\n  ci:\n    sha256: '{'a' * 64}'\n    created: 2026-11-28\n{text}"


# The key itself.


def test_a_key_has_256_random_bits_and_says_whose_it_is() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"olf_[A-Za-z0-9_-]{43}", key) for key in keys)
    assert digest_of("olf_x") == digest("olf_x")


def test_a_day_is_written_or_counted_and_never_over() -> None:
    now = date(2026, 11, 28)
    assert last_day("2027-01-31", now) == date(2027, 1, 31)
    assert last_day("90d", now) == now + timedelta(days=90)
    assert last_day("0d", now) == now == last_day("2026-11-28", now)
    for text in ("2026-11-27", "31.1.2027", "90", "soon", "-1d", "2027-02-30"):
        with pytest.raises(KeyFormError, match="say"):
            last_day(text, now)


def test_it_works_on_its_last_day_and_not_a_second_longer() -> None:
    assert known("a", expires=date(1970, 1, 1)).ends_at == 86_400
    assert known("a").ends_at is None


@pytest.mark.parametrize("text", [f"{'A' * 64}  -\n", "a" * 64, f"sha256:{'a' * 64}\n"])
def test_a_hash_is_read_as_sha256sum_writes_it(text: str) -> None:
    assert read_digest(text) == "a" * 64


@pytest.mark.parametrize("text", ["", "olf_secret", "a" * 63, "sha512:" + "a" * 64])
def test_what_is_no_hash_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(KeyFormError, match="sha256sum") as error:
        read_digest(text)
    assert not text or text not in str(error.value)


# The file.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            entry("    rates: 5/s\n"),
            "prod.keys.yml:6 keys.ci.rates: unknown key; did you mean 'rate'?",
        ),
        (entry("    rate: 5/h\n"), ":6 keys.ci.rate: '5/h' is no rate; say requests per second or"),
        (entry("    rate: 0/s\n"), "keys.ci.rate: '0/s' is no rate"),
        (entry("    rate: 5/s; evil on\n"), "keys.ci.rate: '5/s; evil on' is no rate"),
        (entry("    rate: 1٣/s\n"), "keys.ci.rate: '1٣/s' is no rate"),
        (entry("    concurrent: 0\n"), "keys.ci.concurrent: should be greater than or equal to 1"),
        (entry("    concurrent: many\n"), "keys.ci.concurrent: should be a valid integer"),
        (entry("    expires: never\n"), "keys.ci.expires: should be a valid date"),
        (entry("    models: []\n"), "keys.ci.models: list should have at least 1 item"),
        (entry('    models: ["x\\";}"]\n'), "does not have the form"),
        (entry("    models: [" + "m:" + "x" * 190 + ", m" * 1200 + "]\n"), "nginx reads 4000"),
        (entry().replace("a" * 64, "A" * 64), "does not have the form ^[0-9a-f]{64}$"),
        (entry().replace("  ci:", "  Ci!:"), "'Ci!' does not have the form"),
        (entry().replace("    created: 2026-11-28\n", ""), "keys.ci.created: is missing; add it"),
        (entry(entry().partition("keys:\n")[2]), "appears twice, first in line 3; keep one"),
        (entry(entry().partition("keys:\n")[2].replace("ci:", "cd:")), "is the key 'ci', too"),
        (entry().replace("version: 1", "version: 2"), "version: should be 1"),
        ("", "holds no keys; it must be a mapping"),
        ("- ci\n", "holds no keys; it must be a mapping"),
        ("keys: {", "is not valid YAML"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_its_place(
    inventory: Path, text: str, said: str
) -> None:
    write_keys(inventory, text)
    with pytest.raises(InputError) as error:
        read_keys(inventory)
    assert said in str(error.value)
    assert said in fleet("key", "list", inventory, code=2).stderr
    with pytest.raises(SystemExit):
        load(str(inventory.with_suffix(".py")))


def test_more_kinds_of_limits_than_nginx_should_hold_are_refused(inventory: Path) -> None:
    with pytest.raises(InputError, match="makes more than 64"), changing_keys(inventory) as keys:
        keys.update({f"k{n}": spec(f"k{n}", rate=f"{n + 1}/s") for n in range(65)})
    assert not keys_path_of(inventory).exists()


def test_it_is_its_owner_s_alone_and_leaves_nothing_beside_it(inventory: Path) -> None:
    with changing_keys(inventory) as keys:
        keys["ci"] = spec("ci", models=["qwen3:8b"], expires=date(2027, 1, 31))
    path = keys_path_of(inventory)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {one.name for one in inventory.parent.iterdir()} == {
        *("prod.yml", "prod.py", "prod.keys.yml")
    }
    assert read_keys(inventory) == {"ci": keys["ci"]}


def test_a_change_that_fails_leaves_the_file_as_it_was(inventory: Path) -> None:
    path = write_keys(inventory, entry())
    with pytest.raises(RuntimeError), changing_keys(inventory) as keys:
        keys.clear()
        raise RuntimeError
    assert path.read_text() == entry()


def test_a_link_to_the_file_stays_one(inventory: Path, tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    real = tmp_path / "vault/keys.yml"
    real.write_text(entry())
    keys_path_of(inventory).symlink_to(real)
    with changing_keys(inventory) as keys:
        keys["b"] = spec("b")
    assert keys_path_of(inventory).is_symlink() and "b:" in real.read_text()


def test_keys_that_are_added_at_the_same_time_are_all_there(inventory: Path) -> None:
    def add(number: int) -> None:
        for one in range(10):
            with changing_keys(inventory) as keys:
                keys[f"k{number}-{one}"] = spec(f"{number} {one}")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_keys(inventory)) == 80


# The command.


def test_the_key_alone_is_on_standard_output_and_kept_nowhere(inventory: Path) -> None:
    done = fleet("key", "add", inventory, "ci", LATER)
    key = done.stdout.strip()
    assert done.stdout == f"{key}\n" and re.fullmatch(r"olf_\S{43}", key)
    assert key not in done.stderr and "shown this once" in done.stderr
    for file in inventory.parent.iterdir():
        assert key not in file.read_text()
    assert read_keys(inventory)["ci"].sha256 == digest(key)


def test_what_a_key_may_do_stands_in_the_file(inventory: Path) -> None:
    limits = ("--rate", "60/m", "--concurrent", 4, "--expires", "90d")
    said = fleet_json("key", "add", inventory, "ci", "--models", "qwen3:8b, bge-m3", *limits, LATER)
    assert said["deployed"] is False and said["gateways"] == ["gpu01"]
    content = yaml.safe_load(keys_path_of(inventory).read_text())["keys"]["ci"]
    assert content == {
        "sha256": digest(said["key"]),
        "models": ["qwen3:8b", "bge-m3"],
        "rate": "60/m",
        "concurrent": 4,
        "expires": today() + timedelta(days=90),
        "created": today(),
    }
    (key,) = keys_in_force(inventory)
    assert key.models == ("qwen3:8b", "bge-m3:latest")


def test_a_key_of_a_vault_comes_as_its_hash(inventory: Path) -> None:
    words = ["key", "add", str(inventory), "vault", "--hash", LATER]
    done = CliRunner().invoke(app, words, input=f"{digest('secret')}  -\n")
    assert done.exit_code == 0 and done.stdout == ""
    assert read_keys(inventory)["vault"].sha256 == digest("secret")
    again = CliRunner().invoke(app, ["key", "add", str(inventory), "b", *words[4:]], input="secret")
    assert again.exit_code == 2 and "sha256sum" in again.stderr and "secret" not in again.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--models", "qwen3:9b"), "serves 'qwen3:9b'; nearest: qwen3:8b"),
        (("--rate", "5/h"), "'5/h' is no rate; say requests per second or minute"),
        (("--concurrent", 0), "greater than or equal to 1, not 0"),
        (("--expires", "tomorrow"), "say the last one like 2027-01-31"),
        (("--expires", "2020-01-01"), "2020-01-01 is over"),
    ],
)
def test_what_cannot_be_meant_changes_nothing(
    inventory: Path, words: Sequence[object], said: str
) -> None:
    done = fleet("key", "add", inventory, "ci", LATER, *words, code=2)
    assert said in done.stderr and done.stdout == ""
    assert not keys_path_of(inventory).exists()


def test_a_name_is_one_key_s_for_ever(inventory: Path) -> None:
    fleet("key", "add", inventory, "ci", LATER)
    assert "take another name" in fleet("key", "add", inventory, "ci", LATER, code=2).stderr
    fleet("key", "revoke", inventory, "ci", LATER)
    assert f"was revoked on {today()}" in fleet("key", "add", inventory, "ci", LATER, code=2).stderr


def test_a_revoked_key_does_not_come_back_under_another_name(inventory: Path) -> None:
    key = fleet("key", "add", inventory, "ci", LATER).stdout.strip()
    fleet("key", "revoke", inventory, "ci", LATER)
    words = ["key", "add", str(inventory), "new", "--hash", LATER]
    done = CliRunner().invoke(app, words, input=digest(key))
    assert done.exit_code == 2 and "the key 'ci', which was revoked" in done.stderr


def test_revoked_keys_are_listed_and_reach_no_gateway(inventory: Path) -> None:
    for name in ("a", "b"):
        fleet("key", "add", inventory, name, LATER)
    assert fleet_json("key", "revoke", inventory, "a", LATER)["revoked"] == str(today())
    before = keys_path_of(inventory).read_text()
    fleet("key", "revoke", inventory, "a", LATER)
    assert keys_path_of(inventory).read_text() == before
    states = {row["name"]: row["state"] for row in fleet_json("key", "list", inventory)["keys"]}
    assert states == {"a": "revoked", "b": "active"}
    assert [key.name for key in keys_in_force(inventory)] == ["b"]
    assert "nearest: a, b" in fleet("key", "revoke", inventory, "zzz", LATER, code=2).stderr


def test_the_list_tells_what_is_over_and_what_nobody_serves(inventory: Path) -> None:
    with changing_keys(inventory) as keys:
        keys["old"] = spec("old", expires=today() - timedelta(days=1))
        keys["last-day"] = spec("last-day", expires=today(), models=["qwen3:8b", "gone:1b"])
    old, last = fleet_json("key", "list", inventory)["keys"]
    assert (old["state"], old["models"]) == ("expired", None)
    assert (last["state"], last["not_served"]) == ("active", ["gone:1b"])
    text = fleet("key", "list", inventory).stdout
    assert "gone:1b (not served)" in text and "1 of 2 keys active" in text


def test_a_fleet_without_a_gateway_is_told_what_to_add(tmp_path: Path) -> None:
    path = write_inventory(tmp_path)
    path.write_text("version: 1\nhosts: {a: {}}\n")
    assert "add `gateway: {}`" in fleet("key", "list", path, code=2).stderr
    path.write_text("version: 1\nhosts: {a: {}, b: {}}\n")
    assert "gateways: {gw1: {host: a}}" in fleet("key", "add", path, "x", LATER, code=2).stderr


def test_where_nobody_is_asked_it_is_said_that_keys_are_not_in_force(tmp_path: Path) -> None:
    path = write_inventory(tmp_path, {**LOOPBACK, "keys": "none"})
    assert "asks nobody for a key" in fleet("key", "add", path, "ci", LATER).stderr
    assert "asks nobody for a key" in fleet("key", "list", path).stdout


# On their way to the gateways.


def test_every_deploy_takes_the_keys_along(inventory: Path) -> None:
    fleet("key", "add", inventory, "ci", LATER)
    ((_, data),) = fleet_hosts(load_fleet(inventory), inventory.with_suffix(".py"))
    assert [key.name for key in data["gateway_plan"].keys] == ["ci"]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was run, where pyinfra ends with the exit codes in front of it."""
    words: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        code = 0 if not words or words[-1] != ["fails"] else 1
        words.append(command)
        return subprocess.CompletedProcess(command, code, stdout="{}")

    monkeypatch.setattr(subprocess, "run", run)
    return words


def test_a_new_key_is_brought_to_the_gateways_alone(inventory: Path, ran: list[list[str]]) -> None:
    said = fleet_json("key", "add", inventory, "ci", "--yes")
    assert said["deployed"] is True
    script = str(inventory.with_suffix(".py"))
    assert ran[0][2:] == [
        *("pyinfra", script, "deploy.py", "--limit", "gpu01"),
        *("--data", "gateway_part=keys", "-y", "--json"),
    ]
    assert not any(said["key"] in word for word in ran[0])


def test_a_gateway_that_was_not_told_is_an_error_that_says_how_to_tell_it(
    inventory: Path, ran: list[list[str]]
) -> None:
    ran.append(["fails"])
    done = fleet("key", "add", inventory, "ci", "--yes", code=1)
    assert done.stdout.startswith("olf_")  # the file has it, so its owner must
    assert "not every gateway was told" in done.stderr and "gateway_part=keys" in done.stderr
    ran.append(["fails"])
    said = fleet_json("key", "add", inventory, "cj", "--yes", code=1)
    assert said["key"] and said["deployed"] is False and "Tell them" in said["error"]
    ran.append(["fails"])
    assert (
        "there 'ci' still works"
        in fleet(*("key", "revoke", inventory, "ci", "--yes"), code=1).stderr
    )
    assert fleet_json("key", "revoke", inventory, "ci", "--yes")["deployed"] is True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_key_is_shown_though_its_deploy_is_interrupted(
    inventory: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The file has it already, and no other key may have its name."""

    def ended(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr(subprocess, "run", ended)
    # Whoever runs this in the background may have SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        said = fleet_json("key", "add", inventory, "ci", "--yes", code=130)
    finally:
        signal.signal(signal.SIGINT, before)
    assert said["key"].startswith("olf_") and said["deployed"] is False
    assert said["exit_code"] == 130 and "not every gateway was told" in said["error"]
    assert list(read_keys(inventory)) == ["ci"]


def test_nothing_happens_where_nobody_can_be_asked(inventory: Path) -> None:
    assert "--no-deploy" in fleet("key", "add", inventory, "ci", code=2).stderr
    assert "--no-deploy" in fleet("key", "revoke", inventory, "ci", code=2).stderr
    inventory.with_suffix(".py").unlink()
    assert "prod.py is missing" in fleet("key", "add", inventory, "ci", "--yes", code=2).stderr
    assert not keys_path_of(inventory).exists()


def test_an_inventory_in_python_alone_has_no_file_of_keys(inventory: Path) -> None:
    inventory.unlink()
    done = fleet("key", "list", inventory.with_suffix(".py"), code=2)
    assert "prod.yml is missing" in done.stderr


@pytest.mark.parametrize("machine", [{"state": "absent"}, {"address": "10.0.0.5", "manage": False}])
def test_keys_are_for_gateways_of_ours(
    inventory: Path, ran: list[list[str]], machine: dict[str, Any]
) -> None:
    """Without any, a deploy to none of them would be one to every host."""
    text = yaml.safe_load(inventory.read_text())
    inventory.write_text(yaml.safe_dump({**text, "gateways": {"gw1": machine}}))
    said = fleet("key", "add", inventory, "ci", "--yes", code=2).stderr
    assert "nobody asks for keys" in said and "Nothing was touched" in said
    assert ran == [] and not keys_path_of(inventory).exists()
