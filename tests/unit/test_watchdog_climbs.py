"""One rung of the watchdog's ladder: written down before it is done, and not done where that fails.

And for how long a slice may load its models before that is a trouble.
"""

from pathlib import Path

import pytest

from tests.unit.watchdog_script import Watchdog

AROUND = """
state_of() { gpu=well lost=; }
may_reset() { true; }
overloaded() { false; }
act() { echo "done: $1"; }
stop_slice() { echo it stops; }
tell() { shift 3; echo "$*"; }
read_trouble chat
"""
CLIMB = 'climb chat 11434 warm hung "no token" 0000:10:00.0'


@pytest.fixture
def dog(tmp_path: Path) -> Watchdog:
    return Watchdog(tmp_path)


def test_a_rung_is_written_down_and_done(dog: Watchdog) -> None:
    assert dog.call(AROUND + CLIMB).splitlines() == ["no token: unload", "done: unload"]
    assert (dog.state / "repairs").read_text().endswith(" chat unload\n")


def test_nothing_is_repaired_without_an_account_of_it(dog: Watchdog) -> None:
    """On a full disk nobody would count, and a slice that comes and goes were restarted for ever."""
    (dog.state / "repairs.new").mkdir()
    said = dog.call(AROUND + CLIMB)
    assert (
        "done:" not in said and "cannot be written (is the disk full?): nothing is repaired" in said
    )
    assert not (dog.run_dir / "chat.trouble").exists()
    assert "nothing is repaired" not in dog.call(AROUND + CLIMB), "said once"


@pytest.mark.parametrize("blocked", ["chat.quarantined.new", "repairs.new"])
def test_a_slice_is_not_stopped_where_nothing_would_say_why(dog: Watchdog, blocked: str) -> None:
    (dog.state / blocked).mkdir()
    tried = 'tried="unload restart reset" since=1 last=2\n'
    said = dog.call(AROUND + tried + CLIMB)
    assert not (dog.state / "chat.quarantined").exists()
    assert "nothing is repaired" in said and "it stops" not in said


def test_a_quarantine_is_counted_and_takes_nothing_of_the_budget(dog: Watchdog) -> None:
    said = dog.call(f'{AROUND}tried="unload restart reset" since=1 last=2\n{CLIMB}\nleft chat')
    assert said.splitlines()[-2:] == ["it stops", "3"]
    assert (dog.state / "repairs").read_text().endswith(" chat quarantine\n")
    assert "did not help" in (dog.state / "chat.quarantined").read_text()


@pytest.mark.parametrize(
    ("loads_s", "fetched_ago_s", "long"),
    [
        ("", None, False),
        (590, None, False),
        (610, None, True),
        (4000, 30, False),
        (4000, 610, True),
    ],
)
def test_models_that_are_still_fetched_are_not_loaded_yet(
    dog: Watchdog, loads_s: object, fetched_ago_s: int | None, long: bool
) -> None:
    steps = ["now=9000", f"warming() {{ echo {loads_s}; }}"]
    if fetched_ago_s is not None:
        steps += [
            f"now={9000 - fetched_ago_s}",
            "fetching() { true; }",
            "too_long chat",
            "now=9000",
        ]
    steps += ["fetching() { false; }", "too_long chat && echo long"]
    assert dog.call("\n".join(steps)) == ("long" if long else "")


def test_how_long_it_loads_is_known_over_a_suspended_machine(dog: Watchdog) -> None:
    dog.stub(
        "systemctl",
        """case "$*" in
        *ActiveState*) echo activating ;;
        *ExecMainStartTimestamp*) echo 'Thu 1970-01-01 00:15:50 UTC' ;;
        esac""",
    )
    assert dog.call("now=1000; warming chat") == "50"
    dog.stub("systemctl", "echo inactive")
    assert dog.call("now=1000; warming chat") == ""
