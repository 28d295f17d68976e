"""The table of distributions: whole, and unsupported ones refused by name."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from ollama_fleet.catalogue.distribution import (
    UnsupportedDistributionError,
    fill,
    find_distribution,
    packager_of,
    supported,
)
from ollama_fleet.containers import packages
from ollama_fleet.driver.questions import QUESTIONS

HOSTS = [
    ("ubuntu", "22.04", "ubuntu2204", "3bf863cc.pub"),
    ("ubuntu", "24.04", "ubuntu2404", "3bf863cc.pub"),
    ("debian", "12", "debian12", "3bf863cc.pub"),
    ("debian", "13", "debian13", "8793F200.pub"),
    ("rhel", "8.10", "rhel8", "D42D0685.pub"),
    ("rocky", "9.4", "rhel9", "D42D0685.pub"),
    ("almalinux", "9.6", "rhel9", "D42D0685.pub"),
    ("ol", "8.9", "rhel8", "D42D0685.pub"),
    ("centos", "9", "rhel9", "D42D0685.pub"),
    ("rocky", "10.1", "rhel10", "CDF6BA43.pub"),
]


@pytest.mark.parametrize(("os_id", "version", "repository", "key"), HOSTS)
def test_every_supported_host_finds_its_repository(
    os_id: str, version: str, repository: str, key: str
) -> None:
    found = find_distribution(os_id, version, "x86_64")
    assert (found.repository, found.key_file) == (repository, key)
    url = found.repository_url("https://mirror.example/repos/", "x86_64")
    assert url == f"https://mirror.example/repos/{repository}/x86_64"


def test_arm_servers_have_repositories_of_their_own() -> None:
    found = find_distribution("ubuntu", "24.04", "aarch64")
    assert found.repository_url("https://m", "aarch64") == "https://m/ubuntu2404/sbsa"


@pytest.mark.parametrize(
    ("os_id", "version"), [("fedora", "42"), ("debian", "11"), ("ubuntu", "20.04"), ("centos", "7")]
)
def test_an_unsupported_distribution_is_refused_by_name(os_id: str, version: str) -> None:
    with pytest.raises(UnsupportedDistributionError) as refused:
        find_distribution(os_id, version, "x86_64")
    assert f"{os_id} {version}" in str(refused.value)
    assert "Debian 12" in str(refused.value) and "RHEL 9" in str(refused.value)


def test_an_unsupported_architecture_is_refused() -> None:
    with pytest.raises(UnsupportedDistributionError, match="ppc64le on Debian 12"):
        find_distribution("debian", "12", "ppc64le")


@pytest.mark.parametrize("row", supported())
def test_every_row_is_whole(row: str) -> None:
    family, _, version = row.partition("-")
    found = find_distribution(family, version, "x86_64")
    assert found.key_fingerprint is None or re.fullmatch("[0-9A-F]{40}", found.key_fingerprint)
    # A key's file is named by the end of its fingerprint.
    short = found.key_file.removesuffix(".pub").upper()
    assert found.key_fingerprint is None or found.key_fingerprint.endswith(short)
    assert found.sets["open"] and found.sets["proprietary"]
    assert found.pin_package if found.packager == "apt" else found.dkms_from
    assert found.branches[0] == 580


def test_extra_repositories_have_each_rebuilds_own_names() -> None:
    names = {
        os_id: find_distribution(os_id, "8.10", "x86_64").dkms_from
        for os_id in ("rhel", "rocky", "ol")
    }
    assert names["rhel"] and names["rhel"].builder == "codeready-builder-for-rhel-8-x86_64-rpms"
    assert names["rocky"] and names["rocky"].builder == "powertools"
    assert names["ol"] and names["ol"].builder == "ol8_codeready_builder"


def test_what_a_name_does_not_hold_stays() -> None:
    assert fill("nvidia-dkms-$branch-open", branch=580) == "nvidia-dkms-580-open"
    assert fill("linux-headers-$kernel", branch=580) == "linux-headers-$kernel"


RELEASES = [
    ("debian", "", "apt"),
    ("ubuntu", "debian", "apt"),
    ("ubuntu", "", "apt"),
    ("linuxmint", "ubuntu debian", "apt"),
    ("rhel", "fedora", "dnf"),
    ("rocky", "rhel centos fedora", "dnf"),
    ("centos", "rhel fedora", "dnf"),
    ("ol", "fedora", "dnf"),
    ("fedora", "", "dnf"),
]


@pytest.mark.parametrize(("os_id", "id_like", "packager"), RELEASES)
def test_a_distribution_without_a_row_has_its_packager_all_the_same(
    os_id: str, id_like: str, packager: str
) -> None:
    assert packager_of(os_id, id_like) == packager
    assert packages.family(f'NAME=x\nID="{os_id}"\nID_LIKE="{id_like}"\n') == packager


def test_a_rebuild_that_names_no_other_is_of_its_family() -> None:
    assert packager_of("rocky") == packager_of("ol") == "dnf"
    assert packager_of("arch") is None and packager_of("") is None


@pytest.mark.parametrize(("os_id", "id_like", "packager"), RELEASES)
@pytest.mark.parametrize("question", [QUESTIONS["driver.packages"], packages.QUESTION])
def test_a_host_with_both_package_managers_is_asked_by_its_own_words(
    tmp_path: Path, question: str, os_id: str, id_like: str, packager: str
) -> None:
    """An EL host may have dpkg, and a Debian rpm: which program is there says nothing."""
    for name, answers_for in (("dpkg-query", "apt"), ("rpm", "dnf")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {answers_for}\n")
        (tmp_path / name).chmod(0o755)
    release = tmp_path / "os-release"
    release.write_text(f'NAME=x\nID="{os_id}"\nID_LIKE="{id_like}"\n')
    done = subprocess.run(
        ["sh", "-c", question.replace("/etc/os-release", str(release))],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [packager]
