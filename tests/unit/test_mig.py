"""Plans with MIG instances meet hosts: binding, files, what a deploy decides, what keeps it from one."""

import re
import subprocess
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from ollama_fleet.containers.cdi import own_unit
from ollama_fleet.hardware.found import Hardware
from ollama_fleet.hardware.instances import MigGpu, MigInstance
from ollama_fleet.mig.decision import decide
from ollama_fleet.mig.found import (
    NO_USE,
    Occupant,
    RunningSlice,
    Use,
    handed_questions,
    read_handed,
    read_use,
    use_questions,
)
from ollama_fleet.mig.layout import layout_lines
from ollama_fleet.mig.leftovers import LEFTOVER_QUESTION, leftovers, remove_leftovers
from ollama_fleet.mig.problems import mig_problems, read_profiles, reboot_reasons
from ollama_fleet.mig.script import STOPPED, WATCHERS, change_steps
from ollama_fleet.planner.bind import CannotBindError, bind
from ollama_fleet.planner.plan import HostPlan, MigSeat
from ollama_fleet.questions import Answer
from ollama_fleet.render import Rendered, render_gpus, render_host
from ollama_fleet.templating import MARKER
from tests.unit.examples import UUIDS, gpu, host_plan
from tests.unit.examples import hardware as without_mig

CUT = ("3g.40gb", "2g.20gb", "2g.20gb")
FIRST, SECOND = "0000:10:00.0", "0000:11:00.0"


def card(position: int, **changes: object) -> object:
    return gpu(position, name="NVIDIA H100 80GB HBM3", memory_total_mib=81559, **changes)


def instance(profile: str, start: int, gi: int) -> MigInstance:
    return MigInstance(profile, start, gi, 0, f"MIG-{gi}", 20000)


MADE = tuple(instance(*one) for one in (("2g.20gb", 0, 3), ("2g.20gb", 2, 5), ("3g.40gb", 4, 2)))
ON = MigGpu(0, True, True, MADE)
OFF = MigGpu(0, False, False)


def host(*mig: MigGpu) -> Hardware:
    """Two H100; the second is not cut."""
    gpus = (card(0), card(1))
    return Hardware(
        gpus, (FIRST, SECOND), "580.95.05", True, mig=(*(mig or (ON,)), MigGpu(1, False, False))
    )


def plan(*slices: dict, cut: tuple[str, ...] = CUT) -> HostPlan:
    """A host whose first GPU is cut; slices may name instances, which only the planner does else."""
    names = [item.pop("on", None) for item in slices]
    made = host_plan(*({**item, "gpus": [n]} for n, item in enumerate(slices)))
    bound = tuple(
        replace(item, gpus=(name,)) if name is not None else item
        for item, name in zip(made.slices, names, strict=True)
    )
    return replace(made, slices=bound, mig=((0, cut),) if cut else ())


def chat(on: int | str = "0/2g.20gb/1") -> HostPlan:
    return plan({"name": "chat", "on": on})


# --- binding ---


def test_a_slice_binds_to_an_instance_that_is_not_made_yet() -> None:
    (item,) = bind(chat(), host(OFF))
    assert item.seat == MigSeat(FIRST, "2g.20gb", 1)
    assert item.uuids == ()
    assert item.devices[-1] == "/dev/nvidia7"


def test_once_it_is_made_its_uuid_is_that_of_the_moment() -> None:
    (item,) = bind(chat(), host())
    assert item.uuids == ("MIG-5",)
    assert item.environment["CUDA_VISIBLE_DEVICES"] == "MIG-5"


@pytest.mark.parametrize("on", ["0/2g.20gb/2", "0/1g.10gb/0", "1/2g.20gb/0"])
def test_an_instance_that_the_plan_does_not_make_is_refused(on: str) -> None:
    with pytest.raises(CannotBindError, match=f"no instance {on}"):
        bind(chat(on), host())


def test_a_whole_gpu_that_the_plan_cuts_is_refused() -> None:
    with pytest.raises(CannotBindError, match=r"GPU 0000:10:00.0 is cut into 3g.40gb"):
        bind(chat(UUIDS[0]), host())


def test_two_slices_on_one_instance_are_refused() -> None:
    both = plan({"name": "a", "on": "0/3g.40gb/0"}, {"name": "b", "on": "0/3g.40gb/0"})
    with pytest.raises(CannotBindError, match=r"MIG 3g.40gb 0 is in slice 'a' too"):
        bind(both, host(OFF))


def test_an_instance_of_a_reserved_gpu_is_refused() -> None:
    with pytest.raises(CannotBindError, match=r"0000:10:00.0 is reserved"):
        bind(replace(chat(), reserved=(0,)), host())


def test_a_gpu_that_is_not_there_cannot_be_cut() -> None:
    far = replace(chat("7/2g.20gb/0"), mig=((7, CUT),))
    with pytest.raises(CannotBindError, match="no GPU 7"):
        bind(far, host())


# --- files ---


def files(of: HostPlan, hardware: Hardware) -> dict[str, str]:
    rendered: Rendered = render_host(of, bind(of, hardware), hardware)
    return {file.path: file.text for file in rendered.files}


def test_the_files_are_the_same_before_and_after_the_instances_are_made() -> None:
    assert files(chat(), host(OFF)) == files(chat(), host())


def test_a_unit_on_an_instance_has_no_uuid_and_refuses_to_start_without_one() -> None:
    unit = files(chat(), host())["/etc/systemd/system/ollama-chat.service"]
    assert "MIG-5" not in unit
    assert "Environment=CUDA" not in unit and '"CUDA_VISIBLE_DEVICES' not in unit
    pre = next(line for line in unit.splitlines() if "CUDA_VISIBLE_DEVICES" in line)
    script = pre.partition("-c ")[2].strip("'").replace("$$", "$")
    assert subprocess.run(["sh", "-c", script], env={}, check=False).returncode == 1
    there = {"CUDA_VISIBLE_DEVICES": "MIG-5"}
    assert subprocess.run(["sh", "-c", script], env=there, check=False).returncode == 0


def test_the_layout_says_what_the_gpus_are_to_be() -> None:
    both = plan({"name": "chat", "on": "0/2g.20gb/1"}, {"name": "big", "on": 1})
    assert layout_lines(both, bind(both, host()), host()) == [
        f"cut {FIRST} 3g.40gb 2g.20gb 2g.20gb",
        f"whole {SECOND}",
        f"slice ollama-chat.service {FIRST} 2g.20gb 1",
    ]


def test_a_host_without_mig_and_settings_has_no_such_files() -> None:
    whole = plan({"name": "chat", "on": 0}, cut=())
    bare = replace(host(), mig=())
    assert render_gpus(whole, bind(whole, bare), bare) == []
    assert "ollama-gpus" not in files(whole, bare)["/etc/systemd/system/ollama-devices.service"]


def test_the_devices_unit_cuts_before_any_slice_starts() -> None:
    unit = files(chat(), host())["/etc/systemd/system/ollama-devices.service"]
    starts = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    assert starts[-1] == "ExecStart=/opt/ollama/libexec/ollama-gpus"
    assert "nvidia-mig-manager.service" in unit
    assert "StartLimitIntervalSec=0\n" in unit


# When others start: mig-parted's and the toolkit's units as they are, the rest with more order than any has.
OTHER_UNITS = {
    "nvidia-mig-manager.service": "After=nvidia-persistenced.service nvidia-fabricmanager.service\n"
    "Before=nvidia-gpu-reset.target",
    "nvidia-cdi-refresh.service": "After=multi-user.target",
    "nvidia-dcgm.service": "After=nvidia-gpu-reset.target nvidia-fabricmanager.service",
    "nvidia-dcgm-exporter.service": "After=nvidia-dcgm.service",
    "nvsm.service": "After=nvidia-dcgm.service docker.service",
    "docker.service": "After=network-online.target containerd.service nvidia-cdi-refresh.service",
    "kubelet.service": "After=docker.service containerd.service",
}


def ordered(units: dict[str, str]) -> list[str]:
    """The units and whom they name, as they start. Raises CycleError, where systemd would leave one out."""
    before: TopologicalSorter[str] = TopologicalSorter()
    for unit, text in units.items():
        for key, names in re.findall(r"^(After|Before)=(.*)$", text, re.M):
            for name in names.split():
                before.add(*((unit, name) if key == "After" else (name, unit)))
    return list(before.static_order())


def test_gpus_are_cut_before_anyone_else_opens_them_and_no_unit_waits_in_a_circle() -> None:
    ours = {
        path.rpartition("/")[2]: text
        for path, text in files(chat(), host()).items()
        if path.endswith((".service", ".target", "/10-order.conf"))
    }
    cdi = own_unit()
    order = ordered(ours | OTHER_UNITS | {cdi.path.rpartition("/")[2]: cdi.text})
    cut = order.index("ollama-devices.service")
    assert order.index("nvidia-fabricmanager.service") < cut
    later = ["docker", "containerd", "kubelet", "fleet-cdi", "ollama-chat", *WATCHERS]
    for unit in ("nvidia-gpu-reset.target", *(f"{name}.service" for name in later)):
        assert cut < order.index(unit), unit


def test_on_a_host_that_is_not_cut_nobody_waits_for_it() -> None:
    whole = plan({"name": "chat", "on": 0}, cut=())
    bare = replace(host(), mig=())
    assert "Before=" not in files(whole, bare)["/etc/systemd/system/ollama-devices.service"]


def test_a_slice_on_a_whole_gpu_that_could_be_cut_looks_whether_it_is_whole() -> None:
    both = plan({"name": "chat", "on": "0/2g.20gb/1"}, {"name": "big", "on": 1})
    units = files(both, host())
    guard = "for flag in /run/ollama-fleet/not-whole-6;"
    assert guard in units["/etc/systemd/system/ollama-big.service"]
    assert "not-whole" not in units["/etc/systemd/system/ollama-chat.service"]
    whole = plan({"name": "big", "on": 1}, cut=())
    unit = files(whole, without_mig(2))["/etc/systemd/system/ollama-big.service"]
    assert "not-whole" not in unit


# --- leftovers ---


def test_a_slice_that_has_no_instance_any_more_loses_its_drop_in(tmp_path: Path) -> None:
    both = plan({"name": "chat", "on": "0/2g.20gb/1"}, {"name": "big", "on": 1})
    for name in ("chat", "big", "gone"):
        folder = tmp_path / f"ollama-{name}.service.d"
        folder.mkdir()
        (folder / "20-mig.conf").write_text("[Service]\nEnvironment=CUDA_VISIBLE_DEVICES=MIG-1\n")
    (tmp_path / "ollama-gone.service.d" / "50-theirs.conf").touch()

    def found() -> dict[str, str]:
        (question,) = LEFTOVER_QUESTION.values()
        asked = question.replace("/run/systemd/system", str(tmp_path))
        done = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=True)
        return leftovers({"drop-ins": Answer(done.stdout)}, bind(both, host()))

    assert found().keys() == {"ollama-big.service", "ollama-gone.service"}
    steps = "\n".join(['set -eu; say() { echo "$*"; }', *remove_leftovers(found())])
    subprocess.run(["sh", "-s"], input=steps, text=True, check=True)
    assert found() == {} and remove_leftovers({}) == []
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.conf")}
    assert left == {"ollama-chat.service.d/20-mig.conf", "ollama-gone.service.d/50-theirs.conf"}
    assert not (tmp_path / "ollama-big.service.d").exists()


# --- decisions ---


def decided(of: HostPlan, hardware: Hardware, use: Use = NO_USE):
    return decide(of, bind(of, hardware), hardware, (), use)


def test_gpus_that_are_as_planned_are_left_alone() -> None:
    assert not decided(chat(), host())


def test_a_gpu_is_cut_and_the_slices_on_it_are_drained() -> None:
    sits = RunningSlice("ollama-old.service", 11434)
    other = RunningSlice("ollama-other.service", 11435)
    change = decided(chat(), host(OFF), Use({}, {FIRST: [sits], SECOND: [other]}))
    assert change.why == (f"GPU {FIRST}: cut into 3g.40gb, 2g.20gb, 2g.20gb; it is whole",)
    assert change.drain == (sits,)
    assert change.before == (f"whole {FIRST}",)


def test_other_instances_are_put_back_largest_first_if_the_cut_fails() -> None:
    change = decided(plan({"name": "chat", "on": "0/7g.80gb/0"}, cut=("7g.80gb",)), host())
    assert change.before == (f"cut {FIRST} 3g.40gb 2g.20gb 2g.20gb",)
    made = [("1g.10gb", 6, 13), ("1g.10gb+me", 5, 12), ("1g.20gb", 0, 5), ("2g.20gb", 2, 3)]
    small = replace(ON, instances=tuple(instance(*one) for one in made))
    (line,) = decided(chat(), host(small)).before
    assert line == f"cut {FIRST} 2g.20gb 1g.20gb 1g.10gb 1g.10gb+me"


def test_a_mode_that_is_only_pending_is_not_taken_for_done() -> None:
    assert decided(chat(), host(MigGpu(0, False, True)))
    change = decided(chat(), host(replace(ON, pending=False)))
    assert change.why[0].endswith("it is 2g.20gb, 2g.20gb, 3g.40gb, and MIG mode off is pending")
    whole = plan({"name": "chat", "on": 0}, cut=())
    change = decided(whole, host(MigGpu(0, False, True)))
    assert change.why == (f"GPU {FIRST}: whole; MIG mode on is pending",)


def test_a_whole_gpu_in_mig_mode_is_made_whole() -> None:
    whole = plan({"name": "chat", "on": 0}, cut=())
    change = decided(whole, host())
    assert change.why == (f"GPU {FIRST}: whole, instead of 2g.20gb, 2g.20gb, 3g.40gb",)


def test_a_gpu_that_no_slice_has_keeps_its_mode() -> None:
    assert not decided(plan({"name": "chat", "on": 1}, cut=()), host())


def test_a_foreign_process_is_named_and_nothing_is_done() -> None:
    theirs = Occupant(4711, "python3", "jupyter.service")
    change = decided(chat(), host(OFF), Use({FIRST: [theirs]}, {}))
    assert change.refused == (
        f"GPU {FIRST} has to be cut anew, but python3 (process 4711, jupyter.service) uses it; "
        "stop it, then deploy again",
    )
    assert not change.why


def test_a_foreign_process_on_another_gpu_is_no_reason() -> None:
    theirs = Occupant(4711, "python3", None)
    assert not decided(chat(), host(OFF), Use({SECOND: [theirs]}, {})).refused


def test_our_own_runner_is_no_foreign_process() -> None:
    sits = RunningSlice("ollama-old.service", 11434)
    runner = Occupant(99, "llama-server", "ollama-old.service")
    change = decided(chat(), host(OFF), Use({FIRST: [runner]}, {FIRST: [sits]}))
    assert change.drain == (sits,) and not change.refused


def test_who_uses_what_is_read_from_processes_and_units() -> None:
    answers = {
        "gpu occupants": Answer(
            f"{UUIDS[1]}, 7, python3, 300\nMIG-5, 8, llama-server, [N/A]\n"
            "/proc/7/cgroup:0::/user.slice/session-3.scope\n"
            "/proc/8/cgroup:0::/system.slice/ollama-chat.service\n"
        ),
        "gpu slices": Answer(
            "Id=ollama-chat.service\nActiveState=active\n"
            "Environment=OLLAMA_HOST=127.0.0.1:11434 CUDA_VISIBLE_DEVICES=MIG-5\n\n"
            "Id=ollama-gone.service\nActiveState=active\n"
            "Environment=OLLAMA_HOST=127.0.0.1:11435 CUDA_VISIBLE_DEVICES=MIG-99\n\n"
            "Id=ollama-off.service\nActiveState=inactive\n"
            f"Environment=CUDA_VISIBLE_DEVICES={UUIDS[0]}\n\n"
            "Id=ollama-warm-gone.service\nActiveState=active\nEnvironment=API=x\n\n"
            "Id=ollama-loader.service\nActiveState=active\nEnvironment=CUDA_VISIBLE_DEVICES=-1\n\n"
            # They go on while GPUs are cut: nothing would start them again, or close the ports.
            "Id=ollama-hop.service\nActiveState=active\nEnvironment=\n\n"
            "Id=ollama-health.service\nActiveState=active\nEnvironment=\n\n"
            "Id=ollama-firewall.service\nActiveState=active\nEnvironment="
        ),
    }
    assert answers.keys() == use_questions(MARKER).keys()
    use = read_use(answers, host())
    assert use.occupants == {
        SECOND: [Occupant(7, "python3", None)],
        FIRST: [Occupant(8, "llama-server", "ollama-chat.service")],
    }
    assert use.slices == {
        FIRST: [RunningSlice("ollama-chat.service", 11434)],
        "": [RunningSlice("ollama-gone.service", 11435)],
    }


def test_a_slice_whose_instance_was_made_anew_behind_its_back_is_drained_and_starts_again() -> None:
    change = decide(
        chat(), bind(chat(), host()), host(), (), NO_USE, {"ollama-chat.service": "MIG-7"}
    )
    assert change.drain == (RunningSlice("ollama-chat.service", 11434),)
    assert change.why == ("ollama-chat.service runs with an instance that is not its own any more",)
    assert not change.before
    for handed in ({"ollama-chat.service": "MIG-5"}, {}):
        assert not decide(chat(), bind(chat(), host()), host(), (), NO_USE, handed)


def test_what_a_running_slice_was_started_with_is_read_from_its_process(tmp_path: Path) -> None:
    two = plan({"name": "a", "on": "0/2g.20gb/0"}, {"name": "b", "on": "0/2g.20gb/1"})
    (question,) = handed_questions(two).values()
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\nprintf '%s\\n' 0 '' $PPID\n")
    systemctl.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", question],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": "MIG-9"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert read_handed({"mig handed": Answer(done.stdout)}) == {"ollama-b.service": "MIG-9"}
    assert handed_questions(plan({"name": "big", "on": 1}, cut=())) == {}


def test_a_change_drains_before_it_cuts_and_takes_back_what_failed() -> None:
    sits = RunningSlice("ollama-old.service", 11434)
    change = decided(chat(), host(OFF), Use({}, {FIRST: [sits]}))
    text = "\n".join(change_steps(change, 30))
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    assert text.index("systemctl stop") < text.index("/opt/ollama/libexec/ollama-gpus || code=$?")
    assert f"'whole {FIRST}'" in text
    assert text.index("they are as they were") < text.rindex("systemctl start")


@pytest.mark.parametrize("drained", [True, False])
def test_a_mode_may_wait_for_a_reboot_only_where_nobody_is_served(
    drained: bool, tmp_path: Path
) -> None:
    sits = RunningSlice("ollama-old.service", 11434)
    change = decided(chat(), host(OFF), Use({}, {FIRST: [sits] if drained else []}))
    run = change_steps(change, 30)[-1].replace("/opt/ollama/libexec/ollama-gpus", "sh -c 'exit 3'")
    for path in ("/etc/ollama/gpus", "/etc/ollama/mig-parted.yaml"):
        run = run.replace(path, str(tmp_path / path.rpartition("/")[2]))
    prelude = 'set -eu\nsay() { echo "$*"; }\nfail() { echo "$*"; exit 1; }\n'
    done = subprocess.run(
        ["sh", "-s"], input=prelude + run, text=True, capture_output=True, check=False
    )
    assert done.returncode == int(drained)  # a mode that may wait is the next operation's matter
    assert ("the MIG mode waits" in done.stdout) is not drained


@pytest.mark.parametrize("outcome", [0, 1, 3])
def test_nvidias_own_services_let_go_of_the_gpus_and_come_back_whatever_happens(
    outcome: int, tmp_path: Path
) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(
        f"""#!/bin/sh
case "$*" in
*is-active*dcgm | *is-active*nvsm) exit 0 ;; is-active*) exit 3 ;;
*) echo "$*" >>{tmp_path}/done ;;
esac
"""
    )
    systemctl.chmod(0o755)
    change = decided(chat(), host(OFF))
    run = "\n".join(change_steps(change, 30)).replace(STOPPED, str(tmp_path / "stopped"))
    cut = f"sh -c 'echo cut >>{tmp_path}/done; exit {outcome}'"
    run = run.replace("/opt/ollama/libexec/ollama-gpus", cut)
    run = run.replace("/etc/ollama/", f"{tmp_path}/")
    prelude = 'set -eu\nsay() { echo "$*"; }\nfail() { echo "$*"; exit 1; }\n'
    done = subprocess.run(
        ["sh", "-s"],
        input=f"{prelude}main() {{ {run}\n}}\nmain",
        text=True,
        capture_output=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert done.returncode == (1 if outcome == 1 else 0), done.stderr
    told = (tmp_path / "done").read_text().split("\n")[:-1]
    stops = ["stop nvidia-dcgm", "stop dcgm", "stop nvsm"]
    assert told[: len(stops)] == stops
    assert told[-len(stops) :] == [line.replace("stop", "start") for line in stops]
    assert set(told[3:-3]) == {"cut"}
    assert not (tmp_path / "stopped").exists()


def test_nothing_is_stopped_for_a_change_that_cuts_nothing() -> None:
    change = decide(
        chat(), bind(chat(), host()), host(), (), NO_USE, {"ollama-chat.service": "MIG-7"}
    )
    assert "dcgm" not in "\n".join(change_steps(change, 30))


def test_a_change_of_the_driver_stops_the_same_services() -> None:
    text = (Path(__file__).parents[2] / "templates/driver/running.sh").read_text()
    (units,) = re.findall(r"^FAMILY_UNITS='(.*)'$", text, re.M)
    assert tuple(unit for unit in units.split() if unit in WATCHERS) == WATCHERS


def test_the_scripts_are_shell() -> None:
    scripts = [
        file for file in render_gpus(chat(), bind(chat(), host()), host()) if file.mode == "0755"
    ]
    assert len(scripts) == 1 and MARKER in scripts[0].text
    subprocess.run(["sh", "-n"], input=scripts[0].text, text=True, check=True)
    subprocess.run(["bash", "-n"], input=scripts[0].text, text=True, check=True)


# --- problems ---

LGIP = """\
| GPU   Name             ID    Instances   Memory     P2P    SM    DEC   ENC  |
|=============================================================================|
|   0  MIG 1g.10gb       19     7/7        9.75       No     16     1     0   |
|                                                             1     1     0   |
+-----------------------------------------------------------------------------+
|   0  MIG 1g.10gb+me    20     1/1        9.75       No     16     1     0   |
|   0  MIG 2g.20gb       14     0/3        19.62      No     32     2     0   |
|   0  MIG 3g.40gb        9     0/2        39.50      No     60     3     0   |
|   1  MIG 1g.6gb        14     4/4        5.81       No     14     1     0   |
"""


def problems(of: HostPlan, hardware: Hardware, lgip: str = LGIP, rival: str = "") -> list[str]:
    answers = {"mig profiles": Answer(lgip), "mig rival": Answer(rival)}
    return mig_problems(of, hardware, answers)


def test_profiles_are_what_the_card_itself_lists() -> None:
    assert read_profiles(LGIP) == {
        0: {"1g.10gb": 7, "1g.10gb+me": 1, "2g.20gb": 3, "3g.40gb": 2},
        1: {"1g.6gb": 4},
    }


def test_a_good_layout_has_no_problem() -> None:
    assert problems(chat(), host()) == []
    assert problems(chat(), host(), lgip="No MIG-enabled devices found.") == []


def test_a_profile_that_the_card_has_not_is_named_with_those_it_has() -> None:
    (said,) = problems(plan({"name": "a", "on": 1}, cut=("3g.47gb",)), host())
    assert "no profile 3g.47gb; it has 1g.10gb, 1g.10gb+me, 2g.20gb, 3g.40gb" in said
    (said,) = problems(plan({"name": "a", "on": 1}, cut=("3g.40gb",) * 3), host())
    assert "2 × 3g.40gb fit at most, not 3" in said


def test_a_card_without_mig_is_named() -> None:
    (said,) = problems(chat(), host(MigGpu(0)))
    assert "has no MIG" in said


@pytest.mark.parametrize(
    ("name", "version", "trouble"),
    [
        ("NVIDIA H200", "550.54.15", "550.90.07 is the first"),
        ("NVIDIA H200", "550.90.07", ""),
        ("NVIDIA B200", "570.86.15", "570.133.20 is the first"),
        ("NVIDIA GB200", "570.133.20", ""),
        ("NVIDIA B300 SXM6 AC", "570.133.20", "580.82.07 is the first"),
        ("NVIDIA GB300", "580.95.05", "595.58.03 is the first"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "575.57.08", "cannot cut it"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "575.64.03", ""),
        ("NVIDIA A100 80GB PCIe", "550.54.15", ""),
    ],
)
def test_a_driver_that_is_too_old_for_the_card_is_named(
    name: str, version: str, trouble: str
) -> None:
    hardware = host()
    found = replace(hardware.gpus[0], name=name, driver_version=version)
    said = problems(chat(), replace(hardware, gpus=(found, hardware.gpus[1])), lgip="")
    assert len(said) == bool(trouble)
    assert trouble in "".join(said)


def test_nvidias_own_service_would_cut_them_otherwise() -> None:
    (said,) = problems(chat(), host(), rival="enabled\n")
    assert "systemctl disable nvidia-mig-manager.service" in said
    assert problems(chat(), host(), rival="disabled\n") == []


def test_a_pending_mode_is_a_reason_to_reboot() -> None:
    assert reboot_reasons(host()) == []
    assert reboot_reasons(host(MigGpu(0, False, True))) == [f"GPU {FIRST}: MIG mode is pending"]
