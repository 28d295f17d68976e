"""What the deploy does to a host's container runtimes, judged on what the host answers."""

import dataclasses
import json
import subprocess
from typing import Any

import pytest

from ollama_fleet.containers import cdi, decision, packages, probe, protect
from ollama_fleet.containers.decision import Step
from ollama_fleet.containers.problems import problems
from ollama_fleet.containers.state import ContainerState, questions, read_state
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.provision import Provision, ToolkitRequest
from ollama_fleet.questions import Answer
from ollama_fleet.templating import HostFile

DAEMON_JSON = '{\n    "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}}\n}'
ALL = "".join(f"installed {name} 1.20.0-1\n" for name in packages.PACKAGES)
HEAD = "/etc/docker/daemon.json\n600\n" + "ab" * 32 + "\n"


def plan(**toolkit: Any) -> HostPlan:
    runtime = toolkit.pop("container_runtime", None)
    provision = Provision(toolkit=ToolkitRequest(**toolkit), container_runtime=runtime)
    return HostPlan("gpu01", None, (), (), 11433, provision=provision)


def docker_info(**changes: Any) -> str:
    info = {
        "Runtimes": {"runc": {}, "nvidia": {}},
        "LiveRestoreEnabled": False,
        "CDISpecDirs": None,
    }
    return "WARNING: No swap limit support\n" + json.dumps(info | changes)


def state(**changes: str) -> ContainerState:
    """A host with two GPUs and a Docker 20.10 on which everything is as planned."""
    texts = {
        "os": "ID=debian\nVERSION_ID=12",
        "machine": "x86_64",
        "pci": "0000:17:00.0 0x10de 0x030000\n0000:31:00.0 0x10de 0x030000",
        "driver": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build",
        "commands": "dockerd\ncontainerd\nnvidia-ctk\ncdi-refresh",
        "versions": "dockerd Docker version 20.10.24+dfsg1, build 5d6db84\n"
        "containerd containerd github.com/containerd/containerd 1.6.20~ds1",
        "packages": ALL,
        "docker": docker_info(),
        "daemon-json": HEAD + DAEMON_JSON,
        "cdi": "spec /var/run/cdi/nvidia.yaml",
        "images": "docker",
    } | {name.replace("_", "-"): text for name, text in changes.items()}
    common = ("os", "machine", "pci", "driver")
    named = {n if n in common else f"containers.{n}": text for n, text in texts.items()}
    asked = dict.fromkeys(questions(plan(container_runtime="docker")), Answer())
    found = asked | {name: Answer(text) for name, text in named.items()}
    found["containers.config-toml"] = Answer("/etc/containerd/config.toml", 1)
    if "daemon_json" in changes and not changes["daemon_json"]:
        found["containers.daemon-json"] = Answer("/etc/docker/daemon.json", 1)
    return read_state(found)


def shell(steps: list[Step]) -> str:
    return "\n".join(step.path if isinstance(step, HostFile) else step for step in steps)


def test_a_host_as_planned_is_left_alone() -> None:
    assert problems(plan(), state()) == []
    assert decision.steps(plan(), state()) == []


def test_no_runtime_and_none_asked_for_installs_nothing() -> None:
    bare = state(commands="", versions="", packages="", docker="", images="", cdi="")
    assert decision.steps(plan(), bare) == []


def test_a_host_without_gpus_gets_no_toolkit() -> None:
    assert decision.steps(plan(), state(pci="", packages="", cdi="", images="")) == []


def test_a_toolkit_without_a_runtime_is_the_base_only() -> None:
    bare = state(commands="", versions="", packages="", docker="", images="", cdi="")
    done = shell(decision.steps(plan(install=True), bare))
    assert f"{packages.BASE}=1.20.0-1" in done
    assert "libnvidia-container1=" not in done


def test_asked_for_docker_is_installed_from_the_hosts_own_sources() -> None:
    bare = state(commands="", versions="", packages="", docker="", images="", candidate="docker.io")
    done = shell(decision.docker_steps(plan(container_runtime="docker"), bare))
    assert "apt-get -qq install -y -o DPkg::Lock::Timeout=300 docker.io" in done


def test_an_empty_daemon_json_is_mended_before_docker_is_installed() -> None:
    bare = state(commands="", versions="", docker="", images="", daemon_json=HEAD)
    bare = dataclasses.replace(bare, docker_candidate="docker.io")
    done = shell(decision.docker_steps(plan(container_runtime="docker"), bare))
    assert done.index("/etc/docker/daemon.json") < done.index("apt-get")


def test_docker_that_no_repository_has_is_refused() -> None:
    bare = state(commands="", versions="", packages="", docker="", os='ID="rocky"\nID_LIKE="rhel"')
    (said,) = problems(plan(container_runtime="docker"), bare)
    assert "no enabled repository of this host has docker-ce or moby-engine" in said


def test_a_docker_snap_is_refused_when_docker_is_asked_for() -> None:
    snap = state(commands="docker-snap", versions="", packages="", docker="", candidate="docker.io")
    (said,) = problems(plan(container_runtime="docker"), snap)
    assert "snap" in said


@pytest.mark.parametrize("version", ["1.17.7", "1.16.2"])
def test_pain_15_a_toolkit_with_the_known_hole_is_refused(version: str) -> None:
    (said,) = problems(plan(version=version), state())
    assert "CVE-2025-23266" in said


def test_pain_15_a_half_pinned_set_is_repaired_in_one_transaction() -> None:
    half = ALL.replace("libnvidia-container1 1.20.0", "libnvidia-container1 1.17.7")
    done = shell(decision.steps(plan(), state(packages=half)))
    (install,) = [line for line in done.splitlines() if line.startswith("    -o DPkg")]
    assert all(f"{name}=1.20.0-1" in install for name in packages.PACKAGES)


def test_pain_15_an_old_set_is_lifted_and_pinned() -> None:
    done = decision.steps(plan(), state(packages=ALL.replace("1.20.0", "1.17.7")))
    (pin,) = [step for step in done if isinstance(step, HostFile) and step.path == packages.APT_PIN]
    assert "Pin: version 1.20.0-1\nPin-Priority: 1001" in pin.text
    assert all(name in pin.text for name in packages.PACKAGES)


def test_a_newer_consistent_set_is_left_alone() -> None:
    assert decision.steps(plan(), state(packages=ALL.replace("1.20.0", "1.21.3"))) == []


def test_stale_sources_with_another_key_are_put_aside() -> None:
    stale = "/etc/apt/sources.list.d/nvidia-docker.list"
    done = shell(decision.steps(plan(), state(packages="", sources=f"aside {stale}")))
    assert f"for file in {stale}; do" in done
    assert done.index(stale) < done.index("apt-get")


def test_a_source_among_others_stops_the_deploy_before_it_starts() -> None:
    corporate = "/etc/yum.repos.d/corporate.repo"
    (said,) = problems(plan(), state(packages="", sources=f"person {corporate}"))
    assert said.startswith(f"{corporate} names the container toolkit's repository among others")
    assert "`enabled=0`" in said


def test_whoever_brought_the_toolkit_by_a_source_of_their_own_may_keep_it() -> None:
    theirs = state(sources="person /etc/apt/sources.list.d/corporate.sources")
    assert problems(plan(), theirs) == []
    assert decision.steps(plan(), theirs) == []


@pytest.mark.parametrize(("machine", "folder"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_every_machine_gets_packages_of_its_own_architecture(machine: str, folder: str) -> None:
    fresh = state(packages="", machine=machine)
    assert problems(plan(), fresh) == []
    done = decision.steps(plan(), fresh)
    files = {step.path: step.text for step in done if isinstance(step, HostFile)}
    assert f"/libnvidia-container/stable/deb/{folder}\n" in files[packages.APT_SOURCE]


def test_a_machine_that_the_toolkit_is_not_made_for_is_refused() -> None:
    assert problems(plan(), state(packages="", machine="riscv64"))


def test_el_hosts_get_a_repository_and_a_version_lock() -> None:
    rocky = state(packages="", os='ID="rocky"\nID_LIKE="rhel centos fedora"')
    done = shell(decision.steps(plan(), rocky))
    assert packages.RPM_SOURCE in done
    assert "nvidia-container-toolkit-base-1.20.0-1" in done
    assert f"libnvidia-container1-0:1.20.0-1.*\\n' >>{packages.VERSIONLOCK}" in done


def test_the_key_is_the_known_one_unless_the_inventory_names_another() -> None:
    assert f'[ "$found" = {packages.FINGERPRINT} ]' in packages.key_step("apt", ToolkitRequest())
    other = ToolkitRequest(key_fingerprint="ab" * 20)
    assert f'[ "$found" = {"AB" * 20} ]' in packages.key_step("apt", other)


def test_pain_14_a_daemon_json_that_nobody_understands_stops_the_deploy() -> None:
    (said,) = problems(plan(), state(daemon_json=HEAD + '{\n"a": 1\n"b": 2}'))
    assert said.startswith("/etc/docker/daemon.json cannot be understood: line 3")


def test_pain_14_the_file_keeps_its_mode_and_is_not_written_over_somebodys_change() -> None:
    done = shell(decision.steps(plan(), state(daemon_json=HEAD + "{}")))
    assert "chmod 600" in done
    assert f"[ \"$found\" = '{'ab' * 32}' ]" in done


def test_runtimes_given_on_dockerds_command_line_are_no_business_of_the_file() -> None:
    flag = "--add-runtime=nvidia=/usr/bin/nvidia-container-runtime"
    assert decision.steps(plan(), state(dockerd=flag, daemon_json=HEAD + "{}")) == []
    others = state(dockerd="--add-runtime=kata=/x", docker=docker_info(Runtimes={"runc": {}}))
    (said,) = problems(plan(), others)
    assert "--add-runtime" in said


def test_docker_that_did_not_take_the_file_is_told_again() -> None:
    deaf = state(docker=docker_info(Runtimes={"runc": {}}))
    assert "systemctl reload docker.service" in shell(decision.steps(plan(), deaf))


def test_cdi_waits_for_a_restart_that_would_stop_containers() -> None:
    versions = "dockerd Docker version 27.1.1, build x"
    busy = state(versions=versions, running="web", daemon_json=HEAD + _with_cdi())
    assert decision.steps(plan(), busy) == []
    idle = state(versions=versions, daemon_json=HEAD + _with_cdi())
    assert "systemctl restart docker.service" in shell(decision.steps(plan(), idle))
    live = docker_info(LiveRestoreEnabled=True)
    safe = state(versions=versions, running="web", daemon_json=HEAD + _with_cdi(), docker=live)
    assert "systemctl restart docker.service" in shell(decision.steps(plan(), safe))


def _with_cdi() -> str:
    return json.dumps(json.loads(DAEMON_JSON) | {"features": {"cdi": True}})


def test_old_podman_gets_a_specification_that_it_can_read() -> None:
    podman = state(
        commands="podman\nnvidia-ctk\ncdi-refresh",
        versions="podman podman version 4.3.1",
        images="podman",
    )
    done = shell(decision.steps(plan(), podman))
    assert f"{cdi.ENV_NAME}={cdi.OLD_RUNTIME_FLAG}" in done
    assert "systemctl restart nvidia-cdi-refresh.service" in done
    again = dataclasses.replace(podman, cdi_flags=cdi.OLD_RUNTIME_FLAG)
    assert decision.steps(plan(), again) == []


def test_pain_15_a_specification_that_nobody_refreshes_is_put_aside() -> None:
    done = shell(decision.steps(plan(), state(cdi=f"spec {cdi.SPEC}\nspec {cdi.REFRESHED_SPEC}")))
    assert f"mv -f {cdi.SPEC} {cdi.SPEC}.before-fleet" in done


def test_a_toolkit_without_a_refresh_unit_gets_ours() -> None:
    old = state(packages=ALL.replace("1.20.0", "1.17.8"), commands="dockerd\nnvidia-ctk", cdi="")
    done = shell(decision.steps(plan(version="1.17.8"), old))
    assert f"/etc/systemd/system/{cdi.OWN_UNIT}" in done
    assert f"systemctl enable --quiet {cdi.OWN_UNIT}" in done


def test_our_unit_goes_when_the_toolkit_brings_its_own() -> None:
    done = shell(decision.steps(plan(), state(own=f"644 ab {cdi.own_unit().path}")))
    assert f"rm -f {cdi.own_unit().path}" in done


def test_without_the_toolkit_nothing_is_asked() -> None:
    assert questions(plan(install=False)) == {}


def test_every_shell_text_is_sound() -> None:
    texts = [*questions(plan(container_runtime="docker")).values(), *protect.QUESTIONS.values()]
    named = "aside /a\nlines /b"
    bare = state(packages="", images="", cdi="", sources=named, daemon_json="")
    rocky = state(packages="", images="", cdi="", os="ID=rocky\nID_LIKE=rhel")
    for host in (bare, rocky):
        texts += [step for step in decision.steps(plan(), host) if isinstance(step, str)]
    texts += [protect.protect_step(), cdi.refresh_step(), probe.image_step("podman")]
    for text in texts:
        done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stderr}\n{text}"


def test_a_strange_answer_does_not_break_the_reading() -> None:
    found = state(
        docker="{broken", daemon_json="", packages="x\ninstalled a", cdi="flags", running="web"
    )
    assert found.docker is not None
    assert not found.docker.running
    assert found.daemon_json.text is None
    assert found.packages == {}


def test_a_file_is_read_as_it_stands_on_the_host() -> None:
    found = state(daemon_json=HEAD + "\n\t{}\n").daemon_json
    assert (found.text, found.mode) == ("\n\t{}\n", "600")


def test_scopes_with_nodes_that_systemd_does_not_know_are_told_of() -> None:
    told = "docker-ab.scope /dev/nvidia0:rw /dev/nvidia-caps/nvidia-cap1:r"
    said = Answer(f"{told}\nsh: noise\n")
    assert protect.unknown({"containers.unknown-devices": said}) == [told]
