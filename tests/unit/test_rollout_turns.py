"""Hosts change in turns: one at a time or in batches, the canary first, nobody after a failure, and never so
many that a model is nowhere. With real greenlets, as under pyinfra."""

import time
from collections.abc import Mapping

import gevent
import pytest

from ollama_fleet.planner.rollout import Rollout
from ollama_fleet.rollout.turns import Turns

HOSTS = ("gpu01", "gpu02", "gpu03", "gpu04")


class Run:
    """Hosts that all want to change at once; notes who was at work together."""

    def __init__(
        self, rollout: Rollout, bad: str = "", slices: str = "a", settle_s: float = 5
    ) -> None:
        self.turns = Turns(rollout, settle_s, gevent.sleep)
        self.bad, self.slices = bad, slices
        self.order: list[str] = []
        self.together: list[set[str]] = []
        self.refused: dict[str, str] = {}
        self.at_work: set[str] = set()

    def host(self, name: str, late_s: float = 0) -> None:
        gevent.sleep(late_s)
        mine = [f"{name}.{item}" for item in self.slices]
        refused = self.turns.take("slices", name, mine, HOSTS)
        if refused:
            self.refused[name] = refused
            return
        self.order.append(name)
        self.at_work.add(name)
        self.together.append(set(self.at_work))
        gevent.sleep(0.3)
        self.at_work.remove(name)
        self.turns.give("slices", name, "no answer" if name == self.bad else None)

    def all(self, late: Mapping[str, float] | None = None) -> None:
        jobs = [gevent.spawn(self.host, name, (late or {}).get(name, 0)) for name in HOSTS]
        gevent.joinall(jobs, timeout=20, raise_error=True)
        assert all(job.dead for job in jobs), "somebody waits for ever"

    @property
    def most(self) -> int:
        return max(map(len, self.together))


def test_one_after_the_other_in_the_order_of_the_file() -> None:
    run = Run(Rollout(HOSTS))
    run.all({"gpu01": 0.5})
    assert run.order == list(HOSTS)
    assert run.most == 1


def test_a_named_canary_goes_first_and_alone_then_batches() -> None:
    run = Run(Rollout(HOSTS, batch=3, canary="gpu03"))
    run.all()
    assert run.order[0] == "gpu03"
    assert run.together[0] == {"gpu03"} and run.most == 3


def test_without_a_canary_the_first_batch_is_whole() -> None:
    run = Run(Rollout(HOSTS, batch=2, has_canary=False))
    run.all()
    assert run.most == 2 and run.order[:2] == ["gpu01", "gpu02"]


@pytest.mark.parametrize("pauses", [True, False])
def test_nobody_is_touched_after_a_failed_canary(pauses: bool) -> None:
    run = Run(Rollout(HOSTS, batch=4, pause_on_failure=pauses), bad="gpu01")
    run.all()
    assert run.order == ["gpu01"]
    assert set(run.refused) == {"gpu02", "gpu03", "gpu04"}
    words = "not changed: gpu01 failed its check: no answer; mend it, then run again"
    assert run.refused["gpu04"] == words


def test_a_later_failure_pauses_or_does_not_as_the_inventory_says() -> None:
    paused = Run(Rollout(HOSTS), bad="gpu02")
    paused.all()
    assert paused.order == ["gpu01", "gpu02"]
    goes_on = Run(Rollout(HOSTS, pause_on_failure=False), bad="gpu02")
    goes_on.all()
    assert goes_on.order == list(HOSTS)


def test_who_has_nothing_to_change_is_not_waited_for() -> None:
    run = Run(Rollout(HOSTS, canary="gpu01"), settle_s=60)
    for name in ("gpu01", "gpu02", "gpu04"):
        run.turns.pass_by("slices", name, HOSTS)
    started = time.monotonic()
    gevent.spawn(run.host, "gpu03").join(timeout=5)
    assert run.order == ["gpu03"] and time.monotonic() - started < 3


def test_a_host_that_never_asks_does_not_hold_the_others_for_ever() -> None:
    """Such as one that pyinfra's --parallel has not begun with."""
    run = Run(Rollout(HOSTS, canary="gpu01"), settle_s=1)
    gevent.spawn(run.host, "gpu02").join(timeout=5)
    assert run.order == ["gpu02"]


def test_a_batch_never_holds_all_slices_of_a_model() -> None:
    pools = {"qwen3:8b": ("gpu01.a", "gpu02.a"), "phi4:latest": ("gpu03.a", "gpu04.a")}
    run = Run(Rollout(HOSTS, batch=4, has_canary=False, pools=pools))
    run.all()
    assert sorted(run.order) == list(HOSTS) and run.most == 2
    assert {"gpu01", "gpu02"} not in run.together and {"gpu03", "gpu04"} not in run.together


def test_what_comes_back_in_a_later_step_only_keeps_the_last_slice_of_a_model_in_service() -> None:
    pools = {"qwen3:8b": ("gpu01.a", "gpu02.a")}
    turns = Turns(Rollout(("gpu01", "gpu02"), pools=pools), 0, gevent.sleep)
    hosts = ("gpu01", "gpu02")
    assert turns.take("gpus", "gpu01", ["gpu01.a"], hosts) is None
    turns.give("gpus", "gpu01", comes_back=False)
    refused = turns.take("gpus", "gpu02", ["gpu02.a"], hosts)
    assert refused and "qwen3:8b would be nowhere, for gpu01 comes back" in refused
    turns.pass_by("slices", "gpu01", hosts)
    assert turns.take("slices", "gpu02", ["gpu02.a"], hosts) is None
