"""Mirrors without a machine: what an inventory means, what nginx is told, and what is held against it."""

import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ollama_fleet.checks.mirror import judge_mirror
from ollama_fleet.inventory import fleet_hosts, mirrors_among
from ollama_fleet.load import validate
from ollama_fleet.mirrors.change import change_steps, problems
from ollama_fleet.mirrors.nginx import ROUTES, Machine, configuration_digest, mirror_file
from ollama_fleet.mirrors.state import MirrorState, read_state
from ollama_fleet.planner.mirror import MirrorPlan, mirrors_of
from ollama_fleet.problems import InputError
from ollama_fleet.questions import Answer
from ollama_fleet.sources import PUBLIC
from ollama_fleet.spec.fleet import Fleet
from ollama_fleet.templating import HostFile
from ollama_fleet.yamlfile import YamlFile

ROOT = Path(__file__).parents[2]
DEPOT = {"depot": {"address": "10.0.0.5"}}
NEAR = "http://10.0.0.5:8480"


def fleet(mirrors: dict[str, Any], host: dict[str, Any] | None = None, **settings: Any) -> Fleet:
    hosts = {"a": {"address": "10.0.0.11", **(host or {})}}
    document = {"version": 1, "mirrors": mirrors, "hosts": hosts, **settings}
    return validate(YamlFile("prod.yml", document))


def machines(mirrors: dict[str, Any], host: dict[str, Any] | None = None, **settings: Any) -> dict:
    return dict(fleet_hosts(fleet(mirrors, host, **settings), Path("prod.py")))


def fetches_from(data: dict[str, Any]) -> tuple[Any, ...]:
    """Release address, registry, driver and toolkit repository of a host's data."""
    provision = data["plan"].provision
    said = (data.get("ollama_release_url"), data.get("ollama_registry"))
    return (*said, provision.driver.repository, provision.toolkit.repository)


THROUGH_DEPOT = (
    f"{NEAR}/ollama",
    NEAR,
    f"{NEAR}/nvidia/cuda/repos",
    f"{NEAR}/nvidia/libnvidia-container",
)
DIRECT = (None, None, PUBLIC.driver, PUBLIC.container_toolkit)


def test_hosts_fetch_everything_through_the_only_mirror() -> None:
    assert fetches_from(machines(DEPOT)["a"]) == THROUGH_DEPOT


@pytest.mark.parametrize(
    ("host", "settings", "expected"),
    [
        ({"mirror": "none"}, {}, DIRECT),
        ({}, {"mirror": "none"}, DIRECT),
        ({"mirror": "depot"}, {"mirror": "none"}, THROUGH_DEPOT),
    ],
)
def test_a_host_or_a_fleet_may_go_without(host: dict, settings: dict, expected: tuple) -> None:
    assert fetches_from(machines(DEPOT, host, **settings)["a"]) == expected


def test_the_first_of_several_is_taken_unless_another_is_named() -> None:
    two = {**DEPOT, "other": {"url": "http://other:9000/", "manage": False}}
    assert fetches_from(machines(two)["a"]) == THROUGH_DEPOT
    assert fetches_from(machines(two, {"mirror": "other"})["a"])[:2] == (
        "http://other:9000/ollama",
        "http://other:9000",
    )


def test_what_the_inventory_says_itself_goes_before() -> None:
    own = {
        "ollama": {"registry": "http://mine"},
        "driver": {"repository": "http://mine/cuda"},
        "container_toolkit": {"repository": "http://mine/toolkit"},
    }
    for host, settings in ((own, {}), ({}, own)):
        found = fetches_from(machines(DEPOT, host, **settings)["a"])
        assert found == (f"{NEAR}/ollama", "http://mine", "http://mine/cuda", "http://mine/toolkit")


def test_mirrors_come_first_and_are_a_group_of_their_own() -> None:
    found = fleet_hosts(
        fleet(DEPOT, ssh={"user": "admin", "sudo": True}, driver={"branch": 580}), Path("prod.py")
    )
    assert [name for name, _ in found] == ["depot", "a"]
    ((name, data),) = mirrors_among(found)
    assert name == "depot" and "plan" not in data
    assert (data["ssh_hostname"], data["ssh_user"], data["_sudo"]) == ("10.0.0.5", "admin", True)


def test_one_that_is_there_already_is_no_machine_of_ours() -> None:
    found = machines({"bundle": {"url": "http://10.0.0.9:8080", "manage": False}})
    assert list(found) == ["a"]
    assert fetches_from(found["a"])[1] == "http://10.0.0.9:8080"


def test_a_host_may_be_the_mirror_itself() -> None:
    found = machines({"depot": {"host": "a"}})
    assert list(found) == ["a"] and "plan" in found["a"]
    assert found["a"]["mirror_plan"].url == "http://10.0.0.11:8480"
    assert "10.0.0.11" in found["a"]["mirror_plan"].allow


def test_the_mirror_is_reached_without_the_proxy() -> None:
    data = machines(DEPOT, proxy="http://proxy:3128")
    seen = data["a"]["plan"].provision.environment
    assert seen["no_proxy"] == seen["NO_PROXY"] == "localhost,127.0.0.1,::1,10.0.0.5"
    assert data["depot"]["mirror_plan"].environment["http_proxy"] == "http://proxy:3128"


def test_an_ipv6_address_is_one() -> None:
    plan = mirrors_of(fleet({"depot": {"address": "fd00::5", "listen": "fd00::5"}}))["depot"]
    assert (plan.url, plan.own_url) == ("http://[fd00::5]:8480", "http://[fd00::5]:8480")
    assert "listen [fd00::5]:8480;" in mirror_file(plan, MACHINE).text


FAULTS = [
    ({"a": {}}, {}, "mirrors.a: is the name of a host"),
    ({"none": {}}, {}, "mirrors.none: 'none' means no mirror"),
    ({"depot": {"host": "b"}}, {}, "mirrors.depot.host: no host is named 'b'; `hosts:` has a"),
    ({"depot": {"host": "a", "address": "x"}}, {}, "mirrors.depot.address: `hosts.a` says it"),
    ({"depot": {"host": "a"}, "two": {"host": "a"}}, {}, "a runs mirror 'depot' already"),
    ({"depot": {"host": "a", "port": 11433}}, {}, "is for the host's slices"),
    ({"depot": {"manage": False}}, {}, "mirrors.depot: with `manage: false` needs a `url:`"),
    ({"depot": {"manage": False, "url": "http://x", "port": 1}}, {}, "depot.port: is not ours"),
    ({"depot": {"url": "http://x/path"}}, {}, "mirrors.depot.url: 'http://x/path' does not"),
    ({"depot": {"offline": True}}, {}, "depot.offline: has nothing to serve"),
    ({"depot": {"allow": ["10.0.0.5/8"]}}, {}, "depot.allow[0]: 10.0.0.5/8 has host bits set"),
    ({"depot": {"allow": []}}, {}, "mirrors.depot.allow"),
    ({"depot": {"listen": "eth0"}}, {}, "depot.listen: 'eth0' is no IP address"),
    ({"depot": {"cache": {"path": "/var"}}}, {}, "depot.cache.path: '/var' does not"),
    ({"depot": {"cache": {"path": "/var/../etc"}}}, {}, "depot.cache.path"),
    ({"depot": {"folder": "/srv/a b"}}, {}, "depot.folder"),
    ({"depot": {"cache": {"max_gib": 0}}}, {}, "depot.cache.max_gib"),
    ({"depot": {"upstreams": {"models": "http://x/;return"}}}, {}, "depot.upstreams.models"),
    ({"depot": {"upstreams": {"models": "http://u:p@x"}}}, {}, "depot.upstreams.models"),
    ({"depot": {"upstreams": {"driver": "http://depot:8480/x"}}}, {}, "is the mirror itself"),
    (DEPOT, {"mirror": "depto"}, "mirror: no mirror is named 'depto'; `mirrors:` has depot"),
    ({"depot": {"adress": "x"}}, {}, "did you mean 'address'?"),
]


@pytest.mark.parametrize(("mirrors", "settings", "words"), FAULTS, ids=lambda item: str(item)[:40])
def test_what_cannot_be_is_refused(mirrors: dict, settings: dict, words: str) -> None:
    with pytest.raises(InputError) as error:
        fleet(mirrors, **settings)
    assert words in str(error.value)


def test_this_machine_has_one_name() -> None:
    with pytest.raises(InputError, match="a is this machine already; write `host: a` instead"):
        fleet({"depot": {"connection": "local"}}, {"connection": "local"})


def test_a_hosts_choice_is_checked_too() -> None:
    with pytest.raises(InputError, match=r"hosts\.a\.mirror: no mirror is named 'x'"):
        fleet(DEPOT, {"mirror": "x"})


def test_the_public_originals_are_those_of_group_data() -> None:
    defaults = runpy.run_path(str(ROOT / "group_data/all.py"))
    assert defaults["ollama_release_url"] == PUBLIC.releases


MACHINE = Machine(("9.9.9.9", "2620:fe::fe"), "/etc/ssl/certs/ca-certificates.crt", has_ipv6=True)
PLAN = mirrors_of(fleet(DEPOT))["depot"]
DIGEST = f"sha256:{'ab' * 32}"


def route_of(path: str) -> str | None:
    for route in ROUTES:
        if re.fullmatch(route.pattern.replace("(?<", "(?P<"), path):
            return route.name
    return None


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (f"/v2/library/qwen3/blobs/{DIGEST}", "blob"),
        ("/v2/library/qwen3/manifests/0.6b", "manifest"),
        (f"/v2/library/qwen3/manifests/{DIGEST}", "manifest"),
        ("/ollama/v0.32.15/sha256sum.txt", "releases_sums"),
        ("/ollama/v0.32.15/ollama-linux-amd64.tar.zst", "releases_archives"),
        ("/nvidia/cuda/repos/debian12/x86_64/InRelease", "driver_indexes"),
        ("/nvidia/cuda/repos/rhel9/x86_64/repodata/repomd.xml", "driver_indexes"),
        ("/nvidia/cuda/repos/rhel9/x86_64/a+b~1_c-1:2.rpm", "driver_packages"),
        ("/nvidia/libnvidia-container/gpgkey", "container_toolkit_indexes"),
        ("/nvidia/libnvidia-container/stable/deb/amd64/./Packages", None),
        ("/nvidia/libnvidia-container/stable/deb/amd64/x.deb", "container_toolkit_packages"),
        ("/v2/library/qwen3/blobs/sha256:ab", None),
        ("/v2/library/../x/manifests/y", None),
        ("/v2/library/qwen3/manifests/a b", None),
        ("/v2/library/qwen3/manifests/a%2fb", None),
        ("/v2/library/qwen3/tags/list", None),
        ("/nvidia/cuda/repos/../secret", None),
        ("/nvidia/cuda/repos/a//b", None),
        ("/nvidia/cuda/repos/http://evil/x", None),
        ("/nvidia/cuda/repos/.git/config", None),
        ("/ollama/latest/x", None),
        ("/ollama/v1/a/b", None),
    ],
)
def test_only_paths_of_the_tree_have_a_way_up(path: str, route: str | None) -> None:
    assert route_of(path) == route


def test_names_in_the_configuration_are_short_enough_for_nginx() -> None:
    """PCRE takes 32 characters."""
    for route in ROUTES:
        assert all(len(name) <= 32 for name in re.findall(r"\(\?<(\w+)>", route.pattern))


def test_the_same_plan_gives_the_same_bytes_and_its_digest_stands_in_them() -> None:
    file = mirror_file(PLAN, MACHINE)
    assert file == mirror_file(PLAN, MACHINE)
    assert f"return 200 '{configuration_digest(PLAN, MACHINE)}';" in file.text
    other = replace(PLAN, max_gib=7)
    assert configuration_digest(other, MACHINE) != configuration_digest(PLAN, MACHINE)
    assert "resolver 9.9.9.9 [2620:fe::fe];" in file.text and "max_size=500g" in file.text


def test_who_is_offline_has_no_way_to_an_upstream() -> None:
    text = mirror_file(replace(PLAN, folder="/srv/bundle", offline=True), MACHINE).text
    assert "proxy_pass http" not in text and "root /srv/bundle;" in text


GOOD_NGINX = (
    "nginx version: nginx/1.22.1\nconfigure: --with-http_ssl_module --with-http_slice_module"
)


def as_wanted(plan: MirrorPlan = PLAN) -> MirrorState:
    """A machine on which the mirror is as planned."""
    import hashlib

    file = mirror_file(plan, MACHINE)
    return MirrorState(
        is_root=True,
        has_systemd=True,
        packager="apt",
        missing_packages=(),
        nginx=GOOD_NGINX,
        file=("644", hashlib.sha256(file.text.encode()).hexdigest()),
        is_active=True,
        is_enabled=True,
        machine=MACHINE,
        in_force=configuration_digest(plan, MACHINE),
        registry_status="200",
        cache_mib=10,
        free_mib=600 * 1024,
        has_folder=True,
        selinux_refuses=False,
    )


def test_a_mirror_that_is_as_wanted_is_left_alone() -> None:
    assert problems(PLAN, as_wanted()) == [] and change_steps(PLAN, as_wanted()) == []
    assert {result.status for result in judge_mirror(PLAN, as_wanted())} == {"ok"}


@pytest.mark.parametrize(
    "change",
    [
        {"file": None},
        {"file": ("600", "x")},
        {"is_active": False},
        {"is_enabled": False},
        {"in_force": None},
        {"in_force": "of an older one"},
        {"cache_mib": None},
        {"missing_packages": ("curl",)},
        {"machine": replace(MACHINE, resolvers=("10.0.0.1",))},
    ],
    ids=str,
)
def test_what_differs_is_put_right(change: dict) -> None:
    steps = change_steps(PLAN, replace(as_wanted(), **change))
    assert len([step for step in steps if isinstance(step, HostFile)]) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nginx": "nginx version: x --with-http_ssl_module"}, "built without http_slice_module"),
        ({"is_root": False}, "not root"),
        ({"has_systemd": False}, "systemd is not running"),
        ({"packager": None, "missing_packages": ("nginx",)}, "nginx missing and no apt or dnf"),
        ({"machine": replace(MACHINE, resolvers=())}, "no nameserver in /etc/resolv.conf"),
        ({"selinux_refuses": True}, "setsebool -P httpd_can_network_connect on"),
    ],
    ids=str,
)
def test_a_machine_that_cannot_be_a_mirror_is_refused(change: dict, words: str) -> None:
    (said,) = problems(PLAN, replace(as_wanted(), **change))
    assert words in said


def test_a_missing_bundle_is_refused() -> None:
    plan = replace(PLAN, folder="/srv/bundle")
    (said,) = problems(plan, replace(as_wanted(), has_folder=False))
    assert "no directory /srv/bundle" in said


@pytest.mark.parametrize(
    ("change", "check", "status"),
    [
        ({"is_enabled": False}, "unit", "failed"),
        ({"in_force": None}, "configuration", "failed"),
        ({"registry_status": "000"}, "answers", "failed"),
        ({"free_mib": 400 * 1024}, "cache disk", "warning"),
        ({"free_mib": 100}, "cache disk", "failed"),
    ],
)
def test_what_is_wrong_with_a_mirror_is_seen(change: dict, check: str, status: str) -> None:
    results = judge_mirror(PLAN, replace(as_wanted(), **change))
    assert [(r.check, r.status) for r in results if r.status != "ok"] == [(check, status)]
    assert all(result.remedy for result in results if result.status != "ok")


def test_answers_of_a_machine_are_understood() -> None:
    answers = {
        "mirror.user": Answer("0"),
        "mirror.systemd": Answer(),
        "mirror.os": Answer('ID=rocky\nID_LIKE="rhel centos fedora"'),
        "mirror.commands": Answer("nginx"),
        "mirror.bundles": Answer("/etc/pki/tls/certs/ca-bundle.crt"),
        "mirror.nginx": Answer("sh: 1: nginx: not found", 127),
        "mirror.file": Answer("stat: cannot stat", 1),
        "mirror.unit": Answer("inactive"),
        "mirror.resolvers": Answer("search x\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\n"),
        "mirror.ipv6": Answer("", 1),
        "mirror.in-force": Answer("curl: (7)", 7),
        "mirror.registry": Answer("000", 7),
        "mirror.cache": Answer(""),
        "mirror.free": Answer("2048"),
        "mirror.folder": Answer(),
        "mirror.selinux": Answer("httpd_can_network_connect --> off"),
    }
    found = read_state(answers)
    assert (found.packager, found.missing_packages, found.nginx) == ("dnf", ("nginx",), None)
    assert found.machine == Machine(("10.0.0.1",), "/etc/pki/tls/certs/ca-bundle.crt", False)
    assert (found.file, found.in_force, found.cache_mib, found.free_mib) == (None, None, None, 2048)
    assert found.selinux_refuses and not found.is_active and not found.is_enabled
    assert "dnf -q -y install nginx" in str(change_steps(PLAN, found)[0])
