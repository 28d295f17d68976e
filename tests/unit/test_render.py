"""The files of a host, as text."""

import subprocess
from pathlib import Path

import pytest

from ollama_fleet.render import Rendered, render_host
from ollama_fleet.templating import unit_quote
from tests.unit.examples import UUIDS, bound, host_plan

CHAT = {"name": "chat", "gpus": [0], "models": ["qwen3:8b"]}
CODE = {"name": "code", "gpus": [1]}


def texts(*slices: dict) -> dict[str, str]:
    plan = host_plan(*slices)
    rendered: Rendered = render_host(plan, bound(plan))
    return {file.path.removeprefix("/etc/systemd/system/"): file.text for file in rendered.files}


def lines(text: str, key: str) -> list[str]:
    return [ln.partition("=")[2] for ln in text.splitlines() if ln.startswith(f"{key}=")]


def test_a_slice_may_open_its_own_gpu_and_the_control_nodes_only() -> None:
    unit = texts(CHAT, CODE)["ollama-chat.service"]
    assert lines(unit, "DevicePolicy") == ["closed"]
    assert lines(unit, "DeviceAllow") == [
        "/dev/nvidiactl rw",
        "/dev/nvidia-uvm rw",
        "/dev/nvidia-uvm-tools rw",
        "/dev/nvidia7 rw",
    ]


def test_a_slice_of_two_gpus_may_open_both() -> None:
    unit = texts({"name": "big", "gpus": [0, 1]})["ollama-big.service"]
    assert lines(unit, "DeviceAllow")[-2:] == ["/dev/nvidia7 rw", "/dev/nvidia6 rw"]
    assert f'"CUDA_VISIBLE_DEVICES={UUIDS[0]},{UUIDS[1]}"' in lines(unit, "Environment")


def test_a_slice_runs_the_pinned_version_and_no_other() -> None:
    unit = texts(CHAT)["ollama-chat.service"]
    assert lines(unit, "ExecStart") == ["/opt/ollama/0.32.15/bin/ollama serve"]


def test_slices_start_one_after_the_other() -> None:
    files = texts(CHAT, CODE)
    assert lines(files["ollama-code.service.d/10-order.conf"], "After") == ["ollama-chat.service"]
    assert "ollama-chat.service.d/10-order.conf" not in files


def test_the_devices_unit_waits_for_every_node_of_every_slice() -> None:
    script = texts(CHAT, CODE)["/opt/ollama/libexec/ollama-devices"]
    nodes = "/dev/nvidia-uvm /dev/nvidia-uvm-tools /dev/nvidia6 /dev/nvidia7 /dev/nvidiactl"
    assert f'nodes="{nodes}"' in script
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def smi_that(folder: Path, switches_on: bool) -> None:
    """An nvidia-smi that knows two GPUs without persistence, and writes down what it is told."""
    done = f"touch {folder}/on" if switches_on else "exit 3"
    (folder / "nvidia-smi").write_text(
        f"""#!/bin/sh
case "$*" in
*query*) [ -e {folder}/on ] && mode=Enabled || mode=Disabled
    printf '00000000:17:00.0, %s\\n00000000:31:00.0, %s\\n' $mode Enabled ;;
*) echo "$*" >>{folder}/told; {done} ;;
esac
"""
    )
    (folder / "nvidia-smi").chmod(0o755)


@pytest.mark.parametrize("works", [True, False])
def test_persistence_is_switched_on_where_it_is_off_and_no_reason_not_to_serve(
    tmp_path: Path, works: bool
) -> None:
    smi_that(tmp_path, works)
    script = texts(CHAT)["/opt/ollama/libexec/ollama-devices"].partition("# Without persistence")[2]

    def run() -> subprocess.CompletedProcess[str]:
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        return subprocess.run(["sh"], input=f"#{script}", text=True, capture_output=True, env=path)

    done = run()
    told = (tmp_path / "told").read_text()
    assert done.returncode == 0 and told == "-i 00000000:17:00.0 -pm 1\n"
    assert ("cannot be switched on: 00000000:17:00.0" in done.stderr) is not works
    if works:
        assert run().returncode == 0 and (tmp_path / "told").read_text() == told


def test_persistence_of_a_driver_that_is_not_ours_to_touch_stays_as_it_is() -> None:
    plan = host_plan(CHAT, driver={"manage": False})
    rendered = render_host(plan, bound(plan))
    (script,) = (file.text for file in rendered.files if file.path.endswith("/ollama-devices"))
    assert "-pm 1" not in script


def test_the_loader_gets_no_gpu() -> None:
    unit = texts(CHAT)["ollama-loader.service"]
    assert '"CUDA_VISIBLE_DEVICES=-1"' in lines(unit, "Environment")
    assert lines(unit, "DeviceAllow") == []


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("A=b c", '"A=b c"'),
        ("A=100%", '"A=100%%"'),
        ('A="x"', '"A=\\"x\\""'),
        ("A=C:\\dir", '"A=C:\\\\dir"'),
        ("A=$HOME", '"A=$HOME"'),
    ],
)
def test_values_reach_the_process_as_written(value: str, quoted: str) -> None:
    assert unit_quote(value) == quoted


def test_an_env_file_is_read_by_systemd() -> None:
    unit = texts(CHAT | {"env_file": "/etc/ollama/chat.env"})["ollama-chat.service"]
    assert lines(unit, "EnvironmentFile") == ["/etc/ollama/chat.env"]


def test_only_the_store_s_own_folders_are_given_to_the_service_user_with_all_in_them() -> None:
    """`path: /data` may be a disk on which other people's files lie."""
    given = [
        row for row in texts(CHAT)["/etc/tmpfiles.d/ollama.conf"].splitlines() if row[0] == "Z"
    ]
    folders = ("blobs", "manifests", "fetch", "quarantine", "custom")
    assert given == [f"Z /var/lib/ollama/models/{name} - ollama ollama" for name in folders]


def test_what_was_put_aside_goes_after_two_weeks() -> None:
    """systemd-tmpfiles takes the first line of a path, and no other."""
    rows = texts(CHAT)["/etc/tmpfiles.d/ollama.conf"].splitlines()
    made = [row.split()[1] for row in rows if row[0] == "d"]
    assert len(set(made)) == len(made)
    assert "d /var/lib/ollama/models/quarantine 0755 ollama ollama 14d" in rows
    # The manifest lies there, by which root removes things.
    assert "d /var/lib/ollama 0755 root root" in rows
