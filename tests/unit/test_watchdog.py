"""The watchdog's script, as dash runs it: which rung is next, what its budget is, whom it leaves alone."""

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.watching import WatchPlan
from ollama_fleet.spec.fleet import Fleet
from ollama_fleet.templating import TEMPLATES
from ollama_fleet.watching import places
from ollama_fleet.watching.health import health_files, how_asked
from tests.unit.examples import RELEASE, host_plan
from tests.unit.watchdog_script import CHAT, SHELL, Watchdog


def rung(cause: str, gpu: str, tried: str = "", left: int = 3, resets: str = "yes") -> str:
    script = f'{(TEMPLATES / "watching/ladder.sh").read_text()}\nnext_rung "$@"'
    words = ["sh", cause, gpu, tried, str(left), resets]
    return subprocess.run(
        [SHELL, "-euc", script, *words], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize(
    ("cause", "gpu", "climbs"),
    [
        ("hung", "well", ["unload", "restart", "reset", "quarantine"]),
        ("error", "well", ["unload", "restart", "reset", "quarantine"]),
        ("cpu", "well", ["restart", "reset", "quarantine"]),
        ("hung", "lost", ["reset", "quarantine"]),
        ("cpu", "lost", ["reset", "quarantine"]),
    ],
)
def test_each_trouble_has_its_ladder(cause: str, gpu: str, climbs: list[str]) -> None:
    tried: list[str] = []
    while not tried or tried[-1] != "quarantine":
        tried.append(rung(cause, gpu, " ".join(tried)))
    assert tried == climbs


@pytest.mark.parametrize("gpu", ["well", "lost"])
def test_a_gpu_that_others_use_is_never_reset(gpu: str) -> None:
    assert rung("hung", gpu, "unload restart", resets="no") == "quarantine"
    assert rung("cpu", gpu, "restart", resets="no") == "quarantine"


@pytest.mark.parametrize("cause", ["hung", "cpu", "error"])
def test_an_empty_budget_is_a_quarantine_and_a_driver_that_hangs_an_alarm(cause: str) -> None:
    assert rung(cause, "well", left=0) == "quarantine"
    assert rung(cause, "unknown") == rung(cause, "unknown", left=0) == "alarm"


@pytest.fixture
def dog(tmp_path: Path) -> Watchdog:
    return Watchdog(tmp_path)


def test_the_budget_is_of_an_hour_of_one_slice_and_survives_everything(dog: Watchdog) -> None:
    now = int(time.time())
    assert dog.call("left chat") == "3"
    dog.repairs(f"{now - 3700} chat restart", f"{now - 60} code restart", f"{now - 60} chat unload")
    assert dog.call("left chat") == "2"
    assert dog.call("spend chat restart; left chat; spend chat reset; left chat") == "1\n0"
    assert (dog.state / "repairs").read_text().count("chat") == 4


def test_a_clock_that_was_ahead_does_not_keep_slices_from_repair(dog: Watchdog) -> None:
    dog.repairs(*[f"{int(time.time()) + 9999} chat restart"] * 9)
    assert dog.call("left chat") == "3"


def test_the_list_of_repairs_does_not_grow_for_ever(dog: Watchdog) -> None:
    dog.repairs(*(f"{n} chat restart" for n in range(5000)))
    dog.call("spend chat unload")
    lines = (dog.state / "repairs").read_text().splitlines()
    assert len(lines) == 2001 and lines[-1].endswith("chat unload")


# What a look says, what else there is, and whether it is climbed.
NOTHING, CLIMBS, DIED = "", "climb chat hung no token", "climb chat error no token"
TENDED = {
    "serves": ("well 100 101 -", {}, NOTHING),
    "hangs": ("down 100 101 hung", {}, CLIMBS),
    "hangs, and is drained": ("down 100 101 hung", {"drained": True}, NOTHING),
    "hangs while a deploy runs": ("down 100 101 hung", {"deploying": True}, NOTHING),
    "hangs, and somebody stopped it": ("down 100 101 hung", {"active": "inactive"}, NOTHING),
    "hangs while its models load": ("down 100 101 hung", {"warming": "30"}, NOTHING),
    "hangs for longer than they may": ("down 100 101 hung", {"warming": "700"}, CLIMBS),
    "hung before the last rung": ("down 100 101 hung", {"trouble": "90 120 unload"}, NOTHING),
    "hung after the last rung": ("down 130 131 hung", {"trouble": "90 120 unload"}, CLIMBS),
    "hung when somebody last looked": ("down 100 101 hung", {"now": 900}, NOTHING),
    "hung before it was started": ("down 100 101 hung", {"started": 105}, NOTHING),
    "hung in the second of its start": ("down 100 101 hung", {"started": 100}, NOTHING),
    "hangs since it was started": ("down 100 101 hung", {"started": 99}, CLIMBS),
    "is quarantined": ("down 100 101 hung", {"quarantined": True}, NOTHING),
    # Between its error and the next look the watchdog may have been busy with another slice.
    "died of a question": ("idle 130 131 -", {"failed": 120}, DIED),
    "died, and is loaded again": ("idle 130 131 -", {"failed": 120, "models": "m"}, NOTHING),
    "died, and loads again": ("idle 130 131 -", {"failed": 120, "warming": "3"}, NOTHING),
    "died, and was started anew": ("idle 130 131 -", {"failed": 120, "started": 125}, NOTHING),
}


@pytest.mark.parametrize("case", TENDED)
def test_who_is_repaired_and_who_is_left_alone(dog: Watchdog, case: str) -> None:
    look, given, wanted = TENDED[case]
    (dog.looks / "chat.look").write_text(f"{look}\n")
    dog.stub("date", f"echo {given.get('now', 200)}")
    down = dog.looks / "chat.down"
    down.write_text("no token\n")
    os.utime(down, (given.get("failed", 0),) * 2)
    if "trouble" in given:
        (dog.run_dir / "chat.trouble").write_text(f"{given['trouble']}\n")
    if "quarantined" in given:
        (dog.state / "chat.quarantined").write_text("since 50 long ago\nwhy x\n")
    steps = [
        f"drained() {{ {'true' if 'drained' in given else 'false'}; }}",
        f"deploying() {{ {'true' if 'deploying' in given else 'false'}; }}",
        f"active() {{ echo {given.get('active', 'active')}; }}",
        f"started() {{ echo {given.get('started', 0)}; }}",
        f"warming() {{ echo {given.get('warming', '')}; }}",
        f"models_of() {{ echo {given.get('models', '')}; }}",
        "fetching() { false; }; state_of() { gpu=well; }",
        'climb() { echo "climb $1 $4 $5"; }',
        "words=; tend chat 11434 warm 0000:10:00.0",
    ]
    assert dog.call("\n".join(steps)) == wanted


def test_when_a_unit_was_started_is_known_by_the_wall_s_clock(dog: Watchdog) -> None:
    """Any other stands still while the machine is suspended, or does not, as /proc/uptime."""
    dog.stub("systemctl", """[ "$TZ" = UTC ] && echo 'Thu 1970-01-01 00:15:50 UTC'""")
    assert dog.call("now=1000; started ollama-chat.service") == "950"
    for unknown in ("echo", "exit 1", "echo n/a"):
        dog.stub("systemctl", unknown)
        assert dog.call("now=1000; started ollama-chat.service") == "0"


def test_a_quarantined_slice_is_back_when_it_has_answered_by_itself(dog: Watchdog) -> None:
    mark = dog.state / "chat.quarantined"
    mark.write_text("since 100 long ago\nwhy x\n")
    dog.stub("logger", "exit 1")
    dog.stub("date", "echo 200")
    tend = "active() { echo active; }\nwords=; tend chat 11434 warm 0000:10:00.0"
    (dog.looks / "chat.look").write_text("well 90 91 -\n")  # before it was stopped
    dog.call(tend)
    (dog.looks / "chat.look").write_text("idle 110 111 -\n")  # nothing is proved
    dog.call(tend)
    assert mark.exists()
    (dog.looks / "chat.look").write_text("well 110 111 -\n")
    assert "is in service" in dog.call(tend)
    assert not mark.exists()


def test_a_deploy_that_lives_keeps_the_watchdog_away(dog: Watchdog) -> None:
    began = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
    owner = dog.fleet_dir / "owner"
    asks = "deploying && echo away || echo here"
    assert dog.call(asks) == "here"
    owner.write_text(f"run x\ncarrier {os.getpid()} {began}\n")
    assert dog.call(asks) == "away"
    owner.write_text(f"run x\ncarrier {os.getpid()} 1\n")
    assert dog.call(asks) == "here"


def watched(**levels: dict) -> HostPlan:
    fleet = Fleet.model_validate(
        {
            "version": 1,
            **levels.get("fleet", {}),
            "hosts": {"gpu01": {"slices": [CHAT], **levels.get("host", {})}},
        }
    )
    return replace(plan_fleet(fleet).hosts["gpu01"], release=RELEASE)


def test_a_host_s_own_words_win_over_the_fleet_s() -> None:
    assert watched().watch == WatchPlan()
    plan = watched(
        fleet={"watchdog": {"repairs_per_hour": 5, "reset_gpu": "never"}, "health": {"every_s": 3}},
        host={"watchdog": {"repairs_per_hour": 2, "enabled": False}},
    )
    assert plan.watch == WatchPlan(every_s=3, repairs=False, repairs_per_hour=2, resets=False)
    assert not places.is_repaired(plan) and places.is_watched(plan)


@pytest.mark.parametrize(
    ("changes", "how"),
    [({}, "warm"), ({"preload": False}, "ask"), ({"keep_alive": "5m", "preload": False}, "-")],
)
def test_slices_that_let_their_models_go_are_only_looked_at(changes: dict, how: str) -> None:
    assert how_asked(host_plan({**CHAT, **changes}).slices[0]) == how


def test_where_there_is_no_gateway_the_prober_has_the_slices_account() -> None:
    unit = next(file.text for file in health_files(watched()) if file.path.endswith(".service"))
    assert "User=ollama\n" in unit
