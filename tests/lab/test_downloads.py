"""Downloads that survive: whoever is killed or cut off, the host goes on, and the next run joins it."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, MIRROR, ROOT, Fleet
from tests.lab.test_deploy import read_until, start

ORIGIN = "dlo"
STORE = "/var/lib/ollama/models"
EIGHT = [{"name": f"s{n}", "gpus": [n], "models": ["qwen3:0.6b", "tinyllama"]} for n in range(8)]
NGINX = f"""server {{
    listen 80 default_server;
    access_log /var/log/nginx/origin.log;
    EXTRA
    location / {{
        limit_rate RATE;
        proxy_pass {MIRROR};
        proxy_set_header Host $http_host;
    }}
}}
"""


class Origin:
    """A registry and release server on a lab host of its own, with a log and a speed."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.url = f"http://{lab.address(ORIGIN)}"

    def sh(self, command: str) -> str:
        done = self.lab.ssh(ORIGIN, command)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def serve(self, rate: str, extra: str = "") -> None:
        """Serve so many bytes per second on each connection, with an empty log; `extra`: more of
        nginx' words."""
        conf = NGINX.replace("RATE", rate).replace("EXTRA", extra).replace("\n", "\\n")
        self.sh(
            "rm -f /etc/nginx/sites-enabled/* && "
            f"printf '%b' '{conf}' >/etc/nginx/conf.d/origin.conf && "
            "{ systemctl restart nginx; rm -f /var/log/nginx/origin.log; systemctl kill -s USR1 nginx; }"
        )

    def bytes_of(self, part: str) -> list[tuple[str, int]]:
        """(path, bytes) of each GET whose path holds `part`."""
        rows = re.findall(
            r'"GET (\S+) HTTP/1.1" \d+ (\d+)', self.sh("cat /var/log/nginx/origin.log")
        )
        return [(path, int(size)) for path, size in rows if part in path]


@pytest.fixture(scope="module")
def origin(lab: Lab) -> Origin:
    bare(lab, ORIGIN, "no-gpu")
    origin = Origin(lab)
    origin.sh("apt-get -qq update && apt-get -qq install -y nginx >/dev/null")
    return origin


@pytest.fixture
def eight(lab: Lab, fleet: Fleet, origin: Origin) -> Iterator[Fleet]:
    """A bare host of eight GPUs, and an origin so slow (60 s a model) that a second run on a busy machine
    comes before the end."""
    fleet.add(bare(lab, "dl1", "8x-rtx3090"), *EIGHT)
    fleet.mirror = origin.url
    origin.serve("8k")
    yield fleet
    origin.serve("0")


def blobs(fleet: Fleet) -> list[str]:
    return fleet.sh("dl1", f"ls {STORE}/blobs").split()


@pytest.mark.parametrize("how", ["the run is killed", "its connection is cut", "the host reboots"])
def test_a_download_goes_on_without_the_run_that_began_it(
    eight: Fleet, origin: Origin, how: str
) -> None:
    running = start(eight)
    read_until(running, "downloading")
    time.sleep(2)
    if how == "the run is killed":
        running.send_signal(signal.SIGKILL)
    elif how == "its connection is cut":
        cut = "sleep 3; pkill -9 -f sshd:.root@notty"
        eight.sh("dl1", f"setsid nohup sh -c '{cut}' >/dev/null 2>&1 &")
    else:
        eight.lab.reboot("dl1")
    said = running.communicate(timeout=90)[0]
    assert running.returncode != 0 and "Traceback" not in said
    state = eight.sh("dl1", "systemctl is-active ollama-fetch-models || true")
    assert state == ("inactive" if how == "the host reboots" else "active")
    # What else the run had begun on the host may still hold its lock for a moment.
    eight.sh("dl1", "[ ! -e /run/ollama-fleet/lock ] || flock -w 30 /run/ollama-fleet/lock true")
    run = eight.deploy("-v")
    assert run.code == 0, run.text
    assert "joining a download that is running" in run.text
    started = eight.sh("dl1", "journalctl --boot=all -u ollama-fetch-models | grep -c Started")
    assert started == ("2" if how == "the host reboots" else "1")
    assert re.search(r"(qwen3:0.6b|tinyllama\S*|Ollama-\S+): \d+ MB of \d+ MB", run.text)
    # Eight slices and two runs, and each byte came once.
    whole = {name: int(size) for size, name in whole_files(eight)}
    for path, size in whole.items():
        sent = sum(sent for _, sent in origin.bytes_of(path))
        assert size <= sent < size * 1.1 + 5000, (path, size, sent)
    assert eight.deploy().changed() == {}


def whole_files(fleet: Fleet) -> list[list[str]]:
    """`size digest` of what is in the store; nothing else but what it needs is there."""
    rows = fleet.sh("dl1", f"cd {STORE}/blobs && stat -c '%s %n' * | sed 's/sha256-//'")
    left = fleet.sh("dl1", f"ls {STORE}/fetch; ls /opt/ollama/download")
    assert left.split() == ["lock", "sound"]
    return [line.split() for line in rows.splitlines()]


@pytest.fixture(scope="module")
def served(lab: Lab, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A host with one slice, from a quick origin."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    fleet.add(bare(lab, "dl2", "1x-rtx3060"), {"name": "a", "gpus": [0], "models": ["qwen3:0.6b"]})
    fleet.mirror = origin.url
    origin.serve("0")
    assert fleet.deploy().code == 0
    return fleet


def weights(fleet: Fleet) -> str:
    """Path of the largest blob."""
    return fleet.sh("dl2", f"ls -S {STORE}/blobs/* | head -n 1")


@pytest.mark.parametrize("answer", ["500", '200 "this is no model"'])
def test_a_source_with_nonsense_leaves_what_serves_and_is_made_good(
    served: Fleet, origin: Origin, answer: str
) -> None:
    item = served.hosts["dl2"]["slices"][0]
    before = served.pids("dl2", "a")
    served.add("dl2", item, models={"extra": ["qwen3:1.7b"]})
    origin.serve("0", f"location ~ /blobs/ {{ return {answer}; }}")
    run = served.deploy()
    assert run.code == 1 and "Traceback" not in run.text
    assert "qwen3:1.7b: cannot fetch http://" in run.text
    assert served.pids("dl2", "a") == before
    assert "qwen3/1.7b" not in served.sh("dl2", f"cd {STORE}/manifests && find . -type f")
    origin.serve("0")
    run = served.deploy()
    assert run.code == 0 and served.pids("dl2", "a") == before, run.text
    served.add("dl2", item, models={"absent": ["qwen3:1.7b"]})
    assert served.deploy().code == 0
    served.add("dl2", item)


def test_a_disk_that_fills_up_meanwhile_is_told_and_made_good(
    served: Fleet, origin: Origin
) -> None:
    """Locked, as preflight would go by the sizes that the lab's models pretend to have; the disk is large
    enough for the host to be well again with half a MB of model on it."""
    item = served.hosts["dl2"]["slices"][0]
    served.sh("dl2", "mkdir -p /mnt/small && mount -t tmpfs -o size=64m tmpfs /mnt/small")
    served.add("dl2", item, models={"path": "/mnt/small/ollama"})
    inventory = served.inventory.with_suffix(".yml")
    subprocess.run([BIN / "fleet", "lock", inventory], check=True, capture_output=True)
    origin.serve("40k")
    running = start(served)
    read_until(running, "Start the downloads")
    time.sleep(3)
    served.sh("dl2", "dd if=/dev/zero of=/mnt/small/full bs=4k 2>/dev/null; true")
    said = running.communicate(timeout=90)[0]
    assert running.returncode == 1 and "(is the disk full?)" in said, said
    served.sh("dl2", "rm /mnt/small/full")
    origin.serve("0")
    run = served.deploy()
    assert run.code == 0, run.text
    inventory.with_suffix(".lock.json").unlink()
    served.add("dl2", item)
    assert served.deploy().code == 0


def test_a_corrupt_blob_is_put_aside_and_fetched_again(served: Fleet) -> None:
    """Of the same size: Ollama would load it."""
    blob = weights(served)
    served.sh("dl2", f"printf X | dd of={blob} bs=1 seek=5000 conv=notrunc status=none")
    run = served.deploy()
    assert run.code == 0, run.text
    name = blob.rpartition("/")[2]
    sums = served.sh("dl2", f"sha256sum {blob} {STORE}/quarantine/{name} | cut -c 1-64")
    digest = name.removeprefix("sha256-")
    assert [line == digest for line in sums.split()] == [True, False]
    assert served.deploy().changed() == {}


def test_a_weekly_look_finds_what_rotted(served: Fleet) -> None:
    """Content that changed while size and time did not: only hashing tells."""
    assert served.sh("dl2", "systemctl is-active ollama-scrub.timer") == "active"
    blob = weights(served)
    served.sh(
        "dl2",
        f"touch -r {blob} /tmp/time && printf X | dd of={blob} bs=1 seek=5000 conv=notrunc "
        f"status=none && touch -r /tmp/time {blob}",
    )
    assert served.deploy().code == 0
    served.sh("dl2", "systemctl start ollama-scrub.service")
    assert "was broken" in served.sh("dl2", "journalctl --sync; journalctl -u ollama-scrub")
    digest = blob.rpartition("sha256-")[2]
    assert served.sh("dl2", f"sha256sum {blob} | cut -d ' ' -f 1") == digest
    assert served.deploy().changed() == {}


def test_what_is_not_wanted_goes_and_takes_nothing_with_it(served: Fleet) -> None:
    item = served.hosts["dl2"]["slices"][0]
    served.add("dl2", item, models={"extra": ["tinyllama", "qwen3:1.7b"]})
    assert served.deploy().code == 0
    three = served.sh("dl2", f"ls {STORE}/blobs | wc -l")
    served.add("dl2", item, models={"absent": ["tinyllama"]})
    run = served.deploy()
    assert run.code == 0, run.text
    tags = served.sh("dl2", f"cd {STORE}/manifests && find . -type f | sort").split()
    assert [tag.partition("library/")[2] for tag in tags] == ["qwen3/0.6b", "qwen3/1.7b"]
    assert served.deploy().changed() == {}
    served.add("dl2", item, models={"keep_unlisted": False})
    run = served.deploy()
    assert run.code == 0, run.text
    tags = served.sh("dl2", f"cd {STORE}/manifests && find . -type f | sort").split()
    assert [tag.partition("library/")[2] for tag in tags] == ["qwen3/0.6b"]
    assert int(served.sh("dl2", f"ls {STORE}/blobs | wc -l")) < int(three)
    assert served.deploy().changed() == {}
    served.add("dl2", item, models={"absent": ["qwen3:0.6b"]})
    run = served.deploy()
    assert run.code == 3 and "models.absent: qwen3:0.6b" in run.text and "Traceback" not in run.text
    served.add("dl2", item)


def test_the_store_lies_where_the_inventory_says(served: Fleet) -> None:
    item = served.hosts["dl2"]["slices"][0]
    served.add("dl2", item, models={"path": "/data/ollama"})
    run = served.deploy()
    assert run.code == 0, run.text
    (pid,) = served.pids("dl2", "a").values()
    environment = served.sh("dl2", f"tr '\\0' '\\n' </proc/{pid}/environ")
    assert "OLLAMA_MODELS=/data/ollama" in environment
    assert served.sh("dl2", "ls /data/ollama/blobs | wc -l") != "0"
    assert served.deploy().changed() == {}
    score = subprocess.run(
        [*served.lab.ssh_command("dl2"), "systemd-analyze security ollama-a.service | tail -n 1"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    ).stdout
    assert "OK" in score
