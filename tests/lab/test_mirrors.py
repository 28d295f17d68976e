"""A mirror on lab hosts: real nginx between hosts that deploy and an origin that counts its bytes."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.lab import Lab
from tests.lab import asking
from tests.lab.conftest import bare
from tests.lab.fleet import Fleet
from tests.lab.mirror_origin import BIG, BIG_MIB, Origin

ORIGIN, DEPOT = "mirorigin", "mirdepot"
HOSTS = ("mir1", "mir2", "mir3", "mir4")
LATE = "mir5"
GPU = "1x-rtx3060"
MODEL = "qwen3:0.6b"
CACHE = "/var/cache/ollama-fleet"
# How long a mirror believes what may change.
FRESH_S = 60


@pytest.fixture(scope="module")
def origin(lab: Lab) -> Iterator[Origin]:
    """The public originals, on a lab host."""
    made = Origin(lab, bare(lab, ORIGIN, "no-gpu"))
    made.start()
    yield made
    for name in (ORIGIN, DEPOT, *HOSTS, LATE):
        if name in {host.name for host in lab.status()}:
            lab.remove(name)


@pytest.fixture
def depot(lab: Lab) -> str:
    """A bare machine for the mirror."""
    return bare(lab, DEPOT, "no-gpu")


def mirrored(fleet: Fleet, origin: Origin, **settings: object) -> None:
    """Fetch through a mirror, on the depot unless `settings` name a host; nothing else in the inventory says
    from where."""
    state = fleet.lab.paths.mirror
    where = {} if "host" in settings else {"address": fleet.lab.address(DEPOT)}
    fleet.settings = {
        "ollama": {
            "version": fleet.version,
            "sha256_file": str(
                state / f"ollama/ollama/releases/download/v{fleet.version}/sha256sum.txt"
            ),
        },
        "mirrors": {
            "depot": {
                **where,
                "cache": {"max_gib": 20},
                "upstreams": origin.upstreams,
                **settings,
            }
        },
    }


def add_host(fleet: Fleet, name: str) -> None:
    """A host with one small slice, and the large model in its store."""
    chat = {"name": "chat", "gpus": [0], "models": [MODEL], "context": 2048}
    fleet.add(name, chat, models={"extra": ["big"]})


def url(fleet: Fleet) -> str:
    return f"http://{fleet.lab.address(DEPOT)}:8480"


def status(fleet: Fleet, host: str, arguments: str) -> str:
    """Status code of curl with these arguments on a host."""
    return fleet.sh(host, f"curl -s -o /dev/null -w '%{{http_code}}' {arguments}; true")


def get(fleet: Fleet, path: str, options: str = "") -> str:
    """Exit code of curl, status, bytes and sha256 of what came, asked on the depot itself."""
    return fleet.sh(
        DEPOT,
        f"curl -s {options} -o /tmp/got -w '%{{exitcode}} %{{http_code}} %{{size_download}} ' "
        f"{url(fleet)}{path}; sha256sum </tmp/got | cut -d' ' -f1",
    )


def one_copy_bytes(origin: Origin, version: str) -> int:
    """Bytes of everything that one host fetches; other tests leave more releases at the origin."""
    models = f"library/qwen3 {BIG}"
    return int(
        origin.sh(
            f"cd /srv/origin/v2; for m in {models}; do "
            'case $m in */qwen3) t=0.6b;; *) t=latest;; esac; cat "$m/manifests/$t"; '
            'for d in $(grep -o "sha256:[0-9a-f]*" "$m/manifests/$t" | sort -u); do '
            'cat "$m/blobs/$d"; done; done | cat - /srv/origin/ollama/ollama/releases/download/'
            f"v{version}/ollama-linux-amd64.tar.zst | wc -c"
        )
    )


@pytest.mark.lab
def test_many_hosts_pull_each_byte_once_and_a_dead_uplink_still_serves(
    lab: Lab, fleet: Fleet, origin: Origin, depot: str
) -> None:
    """A bare mirror and four hosts in one deploy; later a fifth, without the origin."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: bare(lab, name, GPU), (*HOSTS, LATE)))
    mirrored(fleet, origin)
    for name in HOSTS:
        add_host(fleet, name)
    origin.forget()

    run = fleet.deploy()
    fetched_s = time.monotonic()
    assert run.code == 0, run.text
    copy, sent = one_copy_bytes(origin, fleet.version), origin.sent_bytes()
    served = fleet.sh(
        depot, "awk '{ s += $7 } END { print s }' /var/log/nginx/ollama-fleet-mirror.log"
    )
    print(f"\none copy {copy}, left the origin {sent} ({sent / copy:.3f}), mirror sent {served}")
    assert copy > BIG_MIB * 2**20
    assert sent <= 1.1 * copy and int(served) >= len(HOSTS) * copy
    for name in HOSTS:
        assert "big" in fleet.sh(name, "find /var/lib/ollama/models/manifests")
    again = fleet.deploy()
    assert again.code == 0 and again.changed() == {}, again.text

    # The uplink goes, and what may change is older than a mirror believes it.
    time.sleep(max(0.0, fetched_s + FRESH_S + 1 - time.monotonic()))
    origin.sh("systemctl stop nginx")
    try:
        add_host(fleet, LATE)
        late = fleet.deploy("--limit", LATE)
        assert late.code == 0, late.text
        assert status(fleet, LATE, f"{url(fleet)}/v2/library/llama3/manifests/8b") == "502"
    finally:
        origin.sh("systemctl start nginx")
    assert status(fleet, LATE, f"{url(fleet)}/v2/library/llama3/manifests/8b") == "200"

    # Ollama's own client, which insists on a Location and fetches in ranges.
    name = f"{lab.address(DEPOT)}:8480/library/{MODEL}"
    said = fleet.sh(
        LATE,
        "mkdir -p /tmp/stock; export HOME=/tmp/stock OLLAMA_MODELS=/tmp/stock/m "
        "OLLAMA_HOST=127.0.0.1:11999; ollama serve >/tmp/stock/log 2>&1 & "
        "until curl -fso /dev/null http://127.0.0.1:11999/api/version; do sleep 0.1; done; "
        "curl -s http://127.0.0.1:11999/api/pull "
        f'-d \'{{"model": "{name}", "insecure": true}}\' | tail -n 1; kill $!',
    )
    assert said == '{"status":"success"}'


@pytest.mark.lab
def test_a_drivers_packages_cross_the_uplink_once(
    lab: Lab, fleet: Fleet, origin: Origin, depot: str
) -> None:
    """Two hosts without a driver at once; NVIDIA's repository is the lab's."""
    bare_hosts = HOSTS[:2]
    for name in bare_hosts:
        bare(lab, name, "bare-1x-rtx3060")
    repository = fleet.mirrored_driver
    mirrored(fleet, origin, upstreams={**origin.upstreams, "driver": repository["repository"]})
    for name in bare_hosts:
        chat = {"name": "chat", "gpus": [0], "models": [MODEL], "context": 2048}
        fleet.add(name, chat, driver={"key": repository["key"]})
    run = fleet.deploy()
    assert run.code == 0, run.text
    for name in bare_hosts:
        sources = fleet.sh(name, "cat /etc/apt/sources.list.d/*")
        assert f"{url(fleet)}/nvidia/cuda/repos/debian12" in sources
    log = fleet.sh(depot, "cat /var/log/nginx/ollama-fleet-uplink.log")
    crossed = [(row.split()[1], row.split('"')[1]) for row in log.splitlines() if ".deb " in row]
    served = fleet.sh(
        depot, "grep -c '[.]deb HTTP.* 20[06] ' /var/log/nginx/ollama-fleet-mirror.log"
    )
    assert crossed and len(crossed) == len(set(crossed))
    assert int(served) >= 2 * len({path for path, _ in crossed})


@pytest.mark.lab
def test_a_cut_or_wrong_answer_is_never_kept_as_the_whole(
    fleet: Fleet, origin: Origin, depot: str
) -> None:
    mirrored(fleet, origin)
    run = fleet.deploy_mirror()
    assert run.code == 0, run.text

    # An origin that ends early, at first: curl sees it, the cache does not keep it.
    digest = origin.cut_once()
    path = f"/v2/library/cut/blobs/sha256:{digest}"
    assert get(fleet, path).split()[:2] == ["18", "200"]
    assert get(fleet, path) == f"0 200 {3 * 2**20} {digest}"
    rest = get(fleet, path, "-r 1048576-")
    assert rest.split()[:3] == ["0", "206", str(2 * 2**20)]
    # One that ended early goes on where it stopped.
    fleet.sh(depot, f"curl -s -r 0-999999 {url(fleet)}{path} >/tmp/part")
    fleet.sh(depot, f"curl -s -C - -o /tmp/part {url(fleet)}{path}")
    assert digest in fleet.sh(depot, "sha256sum /tmp/part")

    # Who began a download goes away: the others have it all the same, and it is not begun anew.
    origin.forget()
    slow = f"{url(fleet)}/v2/library/slow/blobs/sha256:{origin.slow()}"
    sums = fleet.sh(
        depot,
        f"timeout 1 curl -s -o /dev/null {slow} & sleep 0.3; "
        f"for n in 1 2 3; do curl -s {slow} | sha256sum & done; wait",
    )
    assert sums.count(origin.big) == 3
    assert origin.sent_bytes() <= 1.01 * BIG_MIB * 2**20, origin.sent()

    # Bytes that are not what they are called: who finds out asks past the cache, for all.
    wrong = origin.publish("library/wrong", b"not what it is called")
    path = f"/v2/library/wrong/blobs/sha256:{wrong}"
    assert get(fleet, path).split()[1] == "200" and wrong not in get(fleet, path)
    origin.correct("library/wrong", wrong)
    assert wrong not in get(fleet, path)
    assert wrong in get(fleet, path, "-H 'Cache-Control: no-cache'")
    assert wrong in get(fleet, path)

    # Errors are not kept.
    missing = "/v2/library/late/manifests/latest"
    assert get(fleet, missing).split()[1] == "404"
    origin.sh("mkdir -p /srv/origin/v2/library/late/manifests; echo {} >/srv/origin" + missing)
    assert get(fleet, missing).split()[1] == "200"
    # A moved tag is seen after a minute at most, and asked for without its bytes until then.
    origin.forget()
    assert get(fleet, missing).split()[1] == "200" and origin.sent() == []


@pytest.mark.lab
def test_what_a_client_writes_gets_nowhere_but_into_the_tree(
    lab: Lab, fleet: Fleet, origin: Origin, depot: str
) -> None:
    bare(lab, "mir1", GPU)
    fleet.sh("mir1", "apt-get -qq update && apt-get -qq -y install curl >/dev/null 2>&1")
    # The lab's outer machine is a stranger here.
    mirrored(fleet, origin, allow=[f"{lab.address('mir1')}/32"])
    run = fleet.deploy_mirror()
    assert run.code == 0, run.text
    origin.sh(
        "echo secret >/srv/origin/secret; mkdir -p /srv/origin/v2/.git; echo x >/srv/origin/v2/.git/x"
    )
    at = url(fleet)
    assert status(fleet, "mir1", f"{at}/v2/library/qwen3/manifests/0.6b") == "200"
    origin.forget()
    attacks = [
        f"--path-as-is {at}/ollama/../secret",
        f"--path-as-is {at}/nvidia/cuda/repos/../../../secret",
        f"--path-as-is {at}/nvidia/cuda/repos/..%2f..%2fsecret",
        f"--path-as-is {at}/nvidia/cuda/repos/%252e%252e/secret",
        f"--path-as-is {at}/v2/library/../../secret",
        f"--path-as-is '{at}/v2/../secret/manifests/..'",
        f"{at}/v2/.git/x/manifests/latest",
        f"{at}/v2/_catalog",
        f"{at}/secret",
        f"{at}/releases/secret",
        f"'{at}/v2/library/qwen3/blobs/sha256:abc'",
        f"'{at}/v2/library/qwen3%00/manifests/0.6b'",
        f"'{at}/ollama/v1%0d%0aX:%20y/z'",
        f"'{at}/v2/a%20b/c/manifests/d'",
        f"--proxy {at} http://{lab.address(ORIGIN)}:8000/secret",
    ]
    answers = {attack: status(fleet, "mir1", attack) for attack in attacks}
    assert set(answers.values()) <= {"400", "404"}, answers
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"):
        sent = f"-X {method} -d x {at}/v2/library/qwen3/manifests/0.6b"
        assert status(fleet, "mir1", sent) == "405", method
    assert status(fleet, "mir1", f"-p --proxy {at} https://example.org/") == "000"
    assert origin.sent() == [], "an attack got through to the origin"

    # The upstream alone says where to go on, and where that leads in circles it ends.
    nowhere = f"-H 'X-Nowhere: 127.0.0.1:22' {at}/v2/library/elsewhere/manifests/latest"
    assert status(fleet, "mir1", nowhere) == "502"
    assert status(fleet, "mir1", f"{at}/v2/library/looping/manifests/latest") in ("500", "502")
    assert status(fleet, "mir1", f"{at}/v2/library/failing/manifests/latest") == "500"
    # What a client says of itself does not get there: credentials, hosts, ways to miss the cache.
    origin.forget()
    told = (
        "-H 'Authorization: Bearer x' -H 'Host: evil.example' -H 'X-Forwarded-Host: evil.example'"
    )
    assert status(fleet, "mir1", f"{told} '{at}/v2/library/qwen3/manifests/1.7b?x=1'") == "200"
    assert status(fleet, "mir1", f"'{at}/v2/library/qwen3/manifests/1.7b?x=2'") == "200"
    log = origin.sh("cat /var/log/nginx/counted.log")
    assert log.count("1.7b") == 1 and "Bearer" not in log and "x=1" not in log
    header = fleet.sh(
        "mir1", f"curl -sI -H 'Host: evil.example' {at}/v2/{BIG}/blobs/sha256:{origin.big}"
    )
    assert "evil" not in header and "nginx/" not in header
    # And whoever is not allowed gets nothing, the mirror's own answers included.
    for path in ("/v2/", "/fleet-mirror", "/v2/library/qwen3/manifests/0.6b"):
        assert fleet.outside(f"{at}{path}") == 403


@pytest.mark.lab
def test_other_sites_of_the_same_nginx_go_on_whatever_happens_to_the_mirror(
    lab: Lab, fleet: Fleet, origin: Origin, depot: str
) -> None:
    fleet.sh(
        depot,
        "apt-get -qq update && apt-get -qq -y install nginx curl >/dev/null 2>&1; "
        "mkdir /srv/site; head -c 4M /dev/urandom >/srv/site/file; "
        "printf 'server { listen 81; root /srv/site; limit_rate 200k; }' "
        ">/etc/nginx/conf.d/site.conf; nginx -s reload; "
        "timeout 60 sh -c 'until curl -so /dev/null http://127.0.0.1:81/; do sleep 0.2; done'; "
        "(curl -s http://127.0.0.1:81/file | cmp - /srv/site/file && echo whole >/tmp/whole) "
        ">/dev/null 2>&1 &",
    )
    main_pid = fleet.sh(depot, "cat /run/nginx.pid")
    mirrored(fleet, origin)
    assert fleet.deploy_mirror().code == 0
    manifest = "/v2/library/qwen3/manifests/0.6b"
    assert get(fleet, manifest).split()[1] == "200"

    # A configuration that nginx does not take: what was in force stays so.
    before = fleet.sh(depot, "md5sum /etc/nginx/conf.d/*")
    mirrored(fleet, origin, listen="10.99.99.99")
    refused = fleet.deploy_mirror()
    assert refused.code == 1 and "nginx does not take the mirror" in refused.text, refused.text
    assert fleet.sh(depot, "md5sum /etc/nginx/conf.d/*") == before
    assert get(fleet, manifest).split()[1] == "200"
    # And one whose port somebody else has, which nginx finds out only when it reloads.
    fleet.sh(depot, "systemd-run -q --unit thief python3 -m http.server 8490")
    mirrored(fleet, origin, port=8490)
    refused = fleet.deploy_mirror()
    assert refused.code == 1 and "the configuration is as it was" in refused.text, refused.text
    assert fleet.sh(depot, "md5sum /etc/nginx/conf.d/*") == before
    assert get(fleet, manifest).split()[1] == "200"

    # Fewer addresses than before, on the same port.
    mirrored(fleet, origin, listen=lab.address(depot))
    moved = fleet.deploy_mirror()
    assert moved.code == 0, moved.text
    assert get(fleet, manifest).split()[1] == "200"
    assert status(fleet, depot, "http://127.0.0.1:8480/v2/") == "000"
    assert fleet.deploy_mirror().changed() == {}

    assert fleet.sh(depot, "cat /run/nginx.pid") == main_pid
    fleet.sh(depot, "timeout 60 sh -c 'until [ -e /tmp/whole ]; do sleep 0.5; done'")
    # Killed, it starts again with all of its sites.
    fleet.sh(depot, "systemctl kill -s KILL nginx; sleep 1; systemctl reset-failed nginx")
    fleet.sh(depot, "systemctl start nginx")
    assert get(fleet, manifest).split()[1] == "200"
    # A file that somebody changed is put right, and only then something changes.
    fleet.sh(depot, "echo '# mine' >>/etc/nginx/conf.d/ollama-fleet-mirror.conf")
    assert fleet.deploy_mirror().changed() != {}
    assert fleet.deploy_mirror().changed() == {}


@pytest.mark.lab
def test_upstreams_are_found_by_name_and_believed_by_their_certificate_only(
    lab: Lab, fleet: Fleet, origin: Origin, depot: str
) -> None:
    upstreams = origin.serve_tls()
    mirrored(fleet, origin, upstreams=upstreams)
    unnamed = fleet.deploy_mirror()
    assert unnamed.code == 1 and "no nameserver in /etc/resolv.conf" in unnamed.text, unnamed.text
    assert fleet.sh(depot, "command -v nginx; true") == "", "something was changed all the same"
    fleet.sh(depot, f"echo nameserver {lab.address(ORIGIN)} >/etc/resolv.conf")
    run = fleet.deploy_mirror()
    assert run.code == 0, run.text

    manifest = "/v2/library/qwen3/manifests/0.6b"
    assert get(fleet, manifest).split()[1] == "502"
    log = fleet.sh(depot, "cat /var/log/nginx/ollama-fleet-mirror-error.log")
    assert "certificate verify" in log, log
    authority = origin.sh("cat /srv/tls/ca.crt")
    fleet.sh(
        depot,
        f"echo '{authority}' >/usr/local/share/ca-certificates/lab.crt; update-ca-certificates "
        ">/dev/null 2>&1; systemctl reload nginx; sleep 1",
    )
    assert get(fleet, manifest).split()[1] == "200"
    # Never from https to http, where anybody on the way could answer.
    assert get(fleet, "/v2/library/down/manifests/latest").split()[1] == "502"
    fleet.sh(depot, "sed -i s/nameserver/#/ /etc/resolv.conf")
    mirrored(fleet, origin)


@pytest.mark.lab
def test_a_bundle_is_served_without_any_upstream(fleet: Fleet, origin: Origin, depot: str) -> None:
    fleet.sh(
        depot,
        "mkdir -p /srv/bundle; "
        "apt-get -qq update && apt-get -qq -y install curl >/dev/null 2>&1; "
        "cd /srv/bundle; mkdir -p ollama/v0.32.15 v2/library/own/blobs v2/library/own/manifests; "
        "echo archive >ollama/v0.32.15/ollama-linux-amd64.tar.zst; echo {} >v2/library/own/manifests/1b; "
        "head -c 3M /dev/urandom >v2/blob; "
        "mv v2/blob v2/library/own/blobs/sha256:$(sha256sum <v2/blob | cut -d' ' -f1)",
    )
    digest = fleet.sh(depot, "ls /srv/bundle/v2/library/own/blobs").removeprefix("sha256:")
    mirrored(fleet, origin, folder="/srv/bundle", offline=True)
    run = fleet.deploy_mirror()
    assert run.code == 0, run.text
    blob = f"/v2/library/own/blobs/sha256:{digest}"
    assert get(fleet, blob) == f"0 200 {3 * 2**20} {digest}"
    assert f"\nLocation: {blob}" in fleet.sh(depot, f"curl -sI {url(fleet)}{blob}").replace(
        "\r", ""
    )
    typed = fleet.sh(depot, f"curl -sI {url(fleet)}/v2/library/own/manifests/1b")
    assert "application/vnd.docker.distribution.manifest.v2+json" in typed
    assert get(fleet, "/ollama/v0.32.15/ollama-linux-amd64.tar.zst").split()[1] == "200"
    origin.forget()
    assert get(fleet, "/v2/library/qwen3/manifests/0.6b").split()[1] == "404"
    assert origin.sent() == []

    # With an upstream as well: the bundle first, the rest from there.
    mirrored(fleet, origin, folder="/srv/bundle")
    assert fleet.deploy_mirror().code == 0
    assert get(fleet, blob) == f"0 200 {3 * 2**20} {digest}"
    assert get(fleet, "/v2/library/qwen3/manifests/0.6b").split()[1] == "200"
    assert [path for _, _, path in origin.sent()] == ["/v2/library/qwen3/manifests/0.6b"]


@pytest.mark.lab
@pytest.mark.breaks("disk", "clock")
def test_what_a_mirrors_own_machine_lacks_is_told_at_the_end_of_a_deploy(
    fleet: Fleet, origin: Origin, depot: str
) -> None:
    mirrored(fleet, origin)
    assert fleet.deploy_mirror().code == 0
    fleet.sh(
        depot,
        "mount -t tmpfs -o size=64m tmpfs /var/log; head -c 63M /dev/zero >/var/log/big; "
        "mv /run/systemd/container /run/systemd/was",
    )
    try:
        run = fleet.deploy_mirror()
    finally:
        fleet.sh(depot, "umount -l /var/log; mv /run/systemd/was /run/systemd/container")
    assert run.code != 0 and "mirror depot: disk failed" in run.text, run.text
    assert "1 MiB free at /var/log" in run.text and "as this machine; nothing sets it" in run.text
    run = fleet.deploy_mirror()
    assert run.code == 0 and run.changed() == {}, run.text


@pytest.mark.lab
@pytest.mark.breaks("unit", "configuration", "answers", "cache disk")
def test_a_gpu_host_may_be_the_mirror_itself(lab: Lab, fleet: Fleet, origin: Origin) -> None:
    for name in HOSTS[:2]:
        bare(lab, name, GPU)
        add_host(fleet, name)
    mirrored(fleet, origin, host=HOSTS[0])
    origin.forget()
    run = fleet.deploy()
    assert run.code == 0, run.text
    assert origin.sent_bytes() <= 1.1 * one_copy_bytes(origin, fleet.version)
    assert "mirror depot" in run.text and fleet.deploy().changed() == {}
    assert fleet.sh(HOSTS[1], "command -v nginx; true") == ""

    # What breaks there later is found, and no more once it is mended.
    fleet.sh(HOSTS[0], "systemctl stop nginx")
    found = asking.of_mirror(fleet, HOSTS[0])
    assert {check for _, check in found} == {"unit", "configuration", "answers"}
    fleet.sh(HOSTS[0], f"systemctl start nginx; mount -t tmpfs -o size=64m tmpfs {CACHE}")
    found = asking.of_mirror(fleet, HOSTS[0])
    fleet.sh(HOSTS[0], f"umount -l {CACHE}")
    assert {check for _, check in found} == {"cache disk"}
    assert found["mirror depot", "cache disk"].failed
    assert asking.of_mirror(fleet, HOSTS[0]) == {}
