"""Verification of containers: what fails, and how it is said."""

from ollama_fleet.checks.containers import CHECKS
from ollama_fleet.checks.model import CheckResult, Subject
from ollama_fleet.hardware.found import Gpu, Hardware
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.provision import Provision, ToolkitRequest
from ollama_fleet.questions import Answer

GPU = Gpu(0, "GPU-a", "A100", "0000:17:00.0", 0, "580.95.05", 40960, 0, "8.0", 30, True, 0)
LISTED = "GPU 0: A100 (UUID: GPU-a)\n  MIG 3g.20gb     Device  0: (UUID: MIG-b)\n"
PACKAGES = "installed nvidia-container-toolkit 1.20.0-1\ninstalled libnvidia-container1 1.20.0-1\n"


def results(runtime: str | None = None, **answers: str) -> dict[str, CheckResult]:
    texts = {
        "runtimes": "toolkit\ndocker",
        "packages": PACKAGES,
        "host": LISTED,
        "docker": LISTED,
        "cdi": 'level=info msg="Found"\nnvidia.com/gpu=0:0\nnvidia.com/gpu=MIG-b\nnvidia.com/gpu=all',
        "podman": "",
    } | answers
    provision = Provision(container_runtime=runtime)
    plan = HostPlan("gpu01", None, (), (), 11433, provision=provision)
    named = {f"containers {name}": Answer(text) for name, text in texts.items()}
    subject = Subject(plan, Hardware(gpus=(GPU,)), (), named)
    return {result.check: result for check in CHECKS for result in check.judge(subject)}


def test_a_container_that_lists_what_the_host_lists_is_fine() -> None:
    found = results()
    assert [name for name, result in found.items() if result.failed] == []
    assert set(found) == {"container toolkit", "docker container", "cdi specification"}


def test_pain_15_a_stale_specification_shows_in_the_container() -> None:
    before = LISTED.replace("MIG-b", "MIG-gone")
    assert results(docker=before)["docker container"].failed
    assert results(docker=LISTED.splitlines()[0])["docker container"].failed


def test_pain_15_a_specification_of_another_mig_layout_fails() -> None:
    stale = "nvidia.com/gpu=0:0\nnvidia.com/gpu=0:1\nnvidia.com/gpu=all"
    found = results(cdi=stale)["cdi specification"]
    assert (found.failed, found.found) == (True, "with 0:1, gone by now")
    recut = "nvidia.com/gpu=0:0\nnvidia.com/gpu=MIG-old\nnvidia.com/gpu=all"
    found = results(cdi=recut)["cdi specification"]
    assert found.found == "without MIG-b and with MIG-old, gone by now"
    assert results(cdi="nvidia.com/gpu=0\nnvidia.com/gpu=all")["cdi specification"].failed
    assert results(cdi="")["cdi specification"].failed


def test_a_specification_by_index_only_is_fine() -> None:
    whole = results(host="GPU 0: A100 (UUID: GPU-a)", cdi="nvidia.com/gpu=0")["cdi specification"]
    assert not whole.failed


def test_the_words_of_a_container_that_does_not_start_are_shown() -> None:
    said = "docker: Error response from daemon: could not apply CDI"
    assert "could not apply CDI" in results(docker=said)["docker container"].found


def test_a_host_whose_own_list_is_empty_proves_nothing() -> None:
    assert results(host="", docker="")["docker container"].failed


def test_pain_15_half_pinned_or_old_packages_fail() -> None:
    half = PACKAGES.replace("container1 1.20.0", "container1 1.17.7")
    assert results(packages=half)["container toolkit"].failed
    assert results(packages=PACKAGES.replace("1.20.0", "1.17.7"))["container toolkit"].failed


def test_docker_without_the_toolkit_fails_and_a_host_without_runtimes_says_nothing() -> None:
    bare = results(runtimes="docker", packages="", docker="")
    assert bare["container toolkit"].found == "not installed"
    assert bare["docker container"].failed
    assert results(runtimes="", packages="") == {}


def test_podman_is_proved_as_well() -> None:
    found = results(runtimes="toolkit\ndocker\npodman", podman="Error: unresolvable CDI devices")
    assert found["podman container"].failed
    assert not found["docker container"].failed


def test_docker_that_was_asked_for_has_to_run() -> None:
    assert "does not run" in results(runtime="docker", runtimes="toolkit")["docker container"].found


def test_a_toolkit_without_any_runtime_is_somebody_elses() -> None:
    assert set(results(runtimes="toolkit", cdi="")) == {"container toolkit"}


def test_a_toolkit_that_is_none_of_our_business_is_not_looked_at() -> None:
    plan = HostPlan(
        "gpu01", None, (), (), 11433, provision=Provision(toolkit=ToolkitRequest(install=False))
    )
    assert all(check.ask(plan) == {} for check in CHECKS)


def test_containerd_alone_is_known_to_be_configured_and_no_more() -> None:
    found = results(runtimes="toolkit\ncontainerd", docker="", containerd="configured")
    assert "docker container" not in found
    said = found["containerd runtime"]
    assert (said.status, said.found) == ("ok", "configured; no container was run")
    assert results(runtimes="toolkit\ncontainerd", containerd="without")[
        "containerd runtime"
    ].failed


def test_containerd_that_is_dockers_own_has_no_line_of_its_own() -> None:
    assert "containerd runtime" not in results(runtimes="toolkit\ndocker\ncontainerd")
