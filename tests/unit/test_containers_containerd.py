"""containerd's config.toml gets the NVIDIA runtime and loses none."""

import tomllib

import pytest

from ollama_fleet.containers.containerd import BadContainerdConfigError, merge, parse_version

DEBIAN = """version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
"""
KUBELET = """version = 2
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = true
"""
OLD, NEW = (1, 6, 20), (2, 1, 0)


def runtimes(text: str | None, version: tuple[int, ...] = OLD) -> dict[str, dict[str, object]]:
    merged = merge(text, version)
    assert merged is not None
    assert merge(merged, version) is None, "a second run would write it again"
    (plugin,) = (
        value["containerd"]["runtimes"]
        for value in tomllib.loads(merged)["plugins"].values()
        if "containerd" in value
    )
    return dict(plugin)


def test_a_file_that_names_no_runtime_keeps_its_default_one() -> None:
    # containerd 1.6 really has no runc any more when the file names nvidia only.
    assert set(runtimes(DEBIAN)) == {"runc", "nvidia"}
    assert set(runtimes(None)) == {"runc", "nvidia"}


def test_the_rest_stays_as_it_was_written() -> None:
    merged = merge(DEBIAN, OLD)
    assert merged is not None
    assert merged.startswith(DEBIAN)


def test_control_groups_are_run_as_runc_runs_them() -> None:
    assert runtimes(KUBELET)["nvidia"]["options"] == {
        "BinaryName": "/usr/bin/nvidia-container-runtime",
        "SystemdCgroup": True,
    }


def test_a_new_containerd_gets_its_new_form() -> None:
    assert 'plugins."io.containerd.cri.v1.runtime"' in (merge(None, NEW) or "")
    assert "version = 3" in (merge("", NEW) or "")


def test_somebody_elses_nvidia_runtime_is_left_alone() -> None:
    text = KUBELET + '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]\n'
    assert merge(text, OLD) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[plugins.cri]\nsystemd_cgroup = true\n", "version 1"),
        ("version = \n", "line 1"),
        (
            'version = 2\n[plugins]\n"io.containerd.grpc.v1.cri" = {containerd = {}}\n',
            "inline|mutable|overwrite|Cannot",
        ),
    ],
)
def test_what_cannot_be_added_to_is_named(text: str, said: str) -> None:
    with pytest.raises(BadContainerdConfigError, match=said):
        merge(text, OLD)


def test_versions_are_found_in_what_programs_say_of_themselves() -> None:
    assert (
        parse_version("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1") == OLD
    )
    assert parse_version("containerd github.com/containerd/containerd/v2 v2.1.0 x") == NEW
    assert parse_version("podman version 4.3.1") == (4, 3, 1)
    assert parse_version("Docker version 27.1.1, build 63125853e3") == (27, 1, 1)
    assert parse_version("no idea") == ()
