"""The lab's package world as data: names, relations, traps and the files that are made of it."""

from __future__ import annotations

import io
import re
import tarfile
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from lab import flavours
from lab.packages import modules
from lab.packages.deb import write_deb
from lab.packages.payload import library
from lab.packages.recipe import Package, load_packages, load_repositories

KERNEL = "6.1.0-9-lab"
CUDA = "compute/cuda/repos"
PACKAGES = load_packages(KERNEL)
# In every lab host's tree.
IN_THE_TREE = {"kmod"}
ARCHIVES = {
    "ubuntu2204": ("ubuntu/jammy/main", "ubuntu/jammy/restricted", "ubuntu/jammy-updates/main"),
    "ubuntu2404": ("ubuntu/noble/main", "ubuntu/noble/restricted", "ubuntu/noble-updates/main"),
    "debian12": ("debian/bookworm/main", "debian/bookworm/non-free"),
    "debian13": ("debian/trixie/main", "debian/trixie/non-free"),
    "rhel8": ("pub/rocky/8/BaseOS/x86_64/os", "pub/rocky/8/PowerTools/x86_64/os"),
    "rhel9": ("pub/rocky/9/BaseOS/x86_64/os", "pub/rocky/9/CRB/x86_64/os"),
    "rhel10": ("pub/rocky/10/BaseOS/x86_64/os", "pub/rocky/10/CRB/x86_64/os"),
}


def of(repository: str, name: str = "") -> list[Package]:
    return [each for each in PACKAGES if each.repository == repository and name in ("", each.name)]


def one(repository: str, name: str, version: str) -> Package:
    (found,) = (each for each in of(repository, name) if version in each.version)
    return found


def names(relations: tuple[str, ...]) -> list[list[str]]:
    """Each relation's alternatives, without versions."""
    return [
        [re.split(r"[ (]", other.strip())[0] for other in relation.split("|")]
        for relation in relations
    ]


def members(deb: Path) -> dict[str, bytes]:
    """What is in an `ar` archive."""
    content, found, at = deb.read_bytes(), {}, 8
    while at < len(content):
        name, size = content[at : at + 16].decode().strip(), int(content[at + 48 : at + 58])
        found[name] = content[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    return found


@pytest.mark.parametrize("distribution", ARCHIVES)
def test_everything_that_a_package_needs_can_be_had(distribution: str) -> None:
    """From NVIDIA's repository, the distribution's own and, for dkms in EL, EPEL."""
    release = distribution.removeprefix("rhel")
    places = (f"{CUDA}/{distribution}/x86_64", *ARCHIVES[distribution])
    places += (f"pub/epel/{release}/Everything/x86_64",)
    packages = [each for place in places for each in of(place)]
    there = {each.name for each in packages} | IN_THE_TREE
    for each in packages:
        there |= {first[0] for first in names(each.relations.get("provides", ()))}
    wanted = [
        (each.label, group)
        for each in packages
        for relation in ("depends", "requires")
        for group in names(each.relations.get(relation, ()))
    ]
    assert len(wanted) > 50
    assert [item for item in wanted if not there & set(item[1])] == []


@pytest.mark.parametrize(
    ("distribution", "opened", "closed"),
    [
        ("ubuntu2404", "nvidia-dkms-580-open", "nvidia-dkms-580"),
        ("debian12", "nvidia-kernel-open-dkms", "nvidia-kernel-dkms"),
        ("rhel9", "kmod-nvidia-open-dkms", "kmod-nvidia-latest-dkms"),
    ],
)
def test_open_and_proprietary_modules_cannot_both_be_installed(
    distribution: str, opened: str, closed: str
) -> None:
    repository = f"{CUDA}/{distribution}/x86_64"
    refused = one(repository, opened, "580.95.05").relations["conflicts"]
    other = one(repository, closed, "580.95.05")
    assert set(refused) & {other.name, *other.relations.get("provides", ())}


def test_a_version_that_fails_is_installed_only_when_asked_for() -> None:
    for distribution in ARCHIVES:
        sources = [
            each
            for each in of(f"{CUDA}/{distribution}/x86_64")
            if any(path.endswith("/dkms.conf") for path in each.files) and "open" in each.name
        ]
        failing = [each for each in sources if any("FAILS" in path for path in each.files)]
        (failing_version,) = {each.version for each in failing}
        good = {each.version for each in sources} - {failing_version}
        assert max(good) > failing_version
        assert any(version.split(".")[0] == failing_version.split(".")[0] for version in good)


def test_a_branch_metapackage_of_debian_accepts_any_later_branch() -> None:
    depends = one(f"{CUDA}/debian12/x86_64", "cuda-drivers-580", "580.95.05").relations["depends"]
    assert all(">= 580" in relation and "<<" not in relation for relation in depends)


def test_late_branch_packages_of_ubuntu_2204_are_empty() -> None:
    late = one(f"{CUDA}/ubuntu2204/x86_64", "nvidia-utils-580", "580.105.08")
    early = one(f"{CUDA}/ubuntu2204/x86_64", "nvidia-utils-580", "580.95.05")
    assert not late.files
    assert "/usr/bin/nvidia-smi" in early.files


def test_the_repository_of_debian_13_begins_with_590() -> None:
    there = {each.label for each in of(f"{CUDA}/debian13/x86_64")}
    assert any("590.48.01" in label for label in there)
    assert not any("580" in label for label in there)


def test_repositories_are_signed_with_the_key_that_their_original_names() -> None:
    rows = load_repositories()
    files = {name: rows[f"{CUDA}/{name}/x86_64"]["key_file"] for name in ARCHIVES}
    assert files == {
        **dict.fromkeys(("ubuntu2204", "ubuntu2404", "debian12"), "3bf863cc.pub"),
        "debian13": "8793F200.pub",
        **dict.fromkeys(("rhel8", "rhel9"), "D42D0685.pub"),
        "rhel10": "CDF6BA43.pub",
    }
    keys = {rows[f"{CUDA}/{name}/x86_64"]["key"] for name in ARCHIVES}
    assert len(keys) == len(set(files.values()))


def test_a_pinning_package_allows_downgrades_and_excludes_the_others() -> None:
    pin = one(f"{CUDA}/debian12/x86_64", "nvidia-driver-pinning-580", "580-1")
    text = pin.files["/etc/apt/preferences.d/nvidia-driver-pin"]["text"]
    assert "Pin: version 580.*\n" in text
    assert "Pin-Priority: 1000\n" in text
    assert pin.relations["conflicts"] == pin.relations["provides"] == ("nvidia-driver-pinning",)


def test_no_two_packages_that_may_be_together_own_the_same_file() -> None:
    shared = 0
    for repository in load_repositories():
        for first, second in combinations(of(repository), 2):
            if first.name == second.name or not first.files.keys() & second.files.keys():
                continue
            shared += 1
            assert excludes(first, second) or excludes(second, first), (first.label, second.label)
    assert shared > 10


def excludes(package: Package, other: Package) -> bool:
    provided = {group[0] for group in names(other.relations.get("provides", ()))}
    return bool(set(package.relations.get("conflicts", ())) & {other.name, *provided})


def test_the_running_kernel_has_headers_and_the_next_one_waits_in_the_updates() -> None:
    assert of("debian/bookworm/main", f"linux-headers-{KERNEL}")
    meta = of("debian/bookworm/main", "linux-headers-amd64")[0]
    later = of("debian/bookworm-updates/main", "linux-headers-amd64")[0]
    assert meta.relations["depends"] == (f"linux-headers-{KERNEL}",)
    assert later.relations["depends"] == ("linux-headers-6.99.0-1-amd64",)
    assert later.version > meta.version


def test_the_toolkit_refreshes_its_device_list_since_1_18() -> None:
    repository = "libnvidia-container/stable/deb/amd64"
    unit = "/usr/lib/systemd/system/nvidia-cdi-refresh.path"
    name = "nvidia-container-toolkit-base"
    assert unit in one(repository, name, "1.20.0").files
    assert unit not in one(repository, name, "1.17.8").files


def test_a_deb_holds_its_control_file_its_scripts_and_its_files(tmp_path: Path) -> None:
    package = one(f"{CUDA}/debian12/x86_64", "nvidia-kernel-open-dkms", "580.95.05")
    found = members(write_deb(package, tmp_path))
    assert list(found) == ["debian-binary", "control.tar.gz", "data.tar.gz"]
    with tarfile.open(fileobj=io.BytesIO(found["control.tar.gz"])) as control:
        assert {"./control", "./postinst", "./prerm"} <= set(control.getnames())
        text = (control.extractfile("./control") or io.BytesIO()).read().decode()
    with tarfile.open(fileobj=io.BytesIO(found["data.tar.gz"])) as data:
        source = (data.extractfile("./usr/src/nvidia-580.95.05/dkms.conf") or io.BytesIO()).read()
    assert "Package: nvidia-kernel-open-dkms\nVersion: 580.95.05-1\n" in text
    assert "Depends: dkms, firmware-nvidia-gsp (= 580.95.05-1)" in text
    assert b"LAB_FLAVOUR=open\n" in source


def test_settings_of_a_deb_are_known_to_dpkg_as_such(tmp_path: Path) -> None:
    package = one(f"{CUDA}/debian12/x86_64", "nvidia-kernel-support", "580.95.05")
    found = members(write_deb(package, tmp_path))
    with tarfile.open(fileobj=io.BytesIO(found["control.tar.gz"])) as control:
        listed = (control.extractfile("./conffiles") or io.BytesIO()).read().decode()
    assert listed == "/etc/modprobe.d/nvidia-blacklists-nouveau.conf\n"


def test_a_library_without_code_carries_its_name() -> None:
    made = library("libnvidia-ml.so.1")
    assert made.startswith(b"\x7fELF\x02\x01\x01")
    assert b"\0libnvidia-ml.so.1\0" in made
    assert len(made) % 8 == 0


def test_a_module_stream_shows_one_flavour_and_one_branch() -> None:
    rows = [
        (name, version, f"{name}-3:{version}-1.el9.x86_64")
        for version in ("580.95.05", "595.58.03")
        for name in ("kmod-nvidia-open-dkms", "kmod-nvidia-latest-dkms", "libnvidia-ml")
    ]
    other = ("nvidia-container-toolkit", "1.19.1", "nvidia-container-toolkit-0:1.19.1-1.x86_64")
    documents = list(yaml.safe_load_all(modules.describe([*rows, other], "9")))
    streams = {
        str(each["data"]["stream"]): each["data"]["artifacts"]["rpms"]
        for each in documents
        if each["document"] == "modulemd"
    }
    assert set(streams) == {
        *("580-open", "580-dkms", "595-open", "595-dkms", "open-dkms", "latest-dkms")
    }
    assert streams["580-open"] == [
        "kmod-nvidia-open-dkms-3:580.95.05-1.el9.x86_64",
        "libnvidia-ml-3:580.95.05-1.el9.x86_64",
    ]
    assert "kmod-nvidia-open-dkms" not in " ".join(streams["latest-dkms"])
    assert not any("container" in rpm for rpms in streams.values() for rpm in rpms)


def test_each_distribution_says_who_it_is() -> None:
    said = {name: flavours.files(name) for name in flavours.distributions()}
    assert 'VERSION_CODENAME="noble"' in said["ubuntu-24.04"]["usr/lib/os-release"]
    assert (
        "URIs: http://10.77.0.2/ubuntu\n"
        in said["ubuntu-22.04"]["etc/apt/sources.list.d/lab.sources"]
    )
    assert 'PLATFORM_ID="platform:el8"' in said["rocky-8"]["usr/lib/os-release"]
    assert "[powertools]" in said["rocky-8"]["etc/yum.repos.d/lab.repo"]
    assert "[crb]" in said["rocky-10"]["etc/yum.repos.d/lab.repo"]
    assert said["rocky-9"]["etc/dnf/vars/releasever"] == "9\n"


def test_a_newer_kernel_can_be_had_where_the_profile_says_so() -> None:
    sources = "etc/apt/sources.list.d/lab.sources"
    assert "Suites: noble\n" in flavours.files("ubuntu-24.04")[sources]
    assert "Suites: noble noble-updates\n" in flavours.files("ubuntu-24.04", True)[sources]
    off, on = (flavours.files("rocky-9", on)["etc/yum.repos.d/lab.repo"] for on in (False, True))
    assert (off.count("enabled=1"), on.count("enabled=1")) == (2, 3)


def test_only_hosts_of_the_el_family_stand_on_the_dnf_layer() -> None:
    layers = {name: flavours.layer(name) for name in flavours.distributions()}
    assert layers["debian-12"] is layers["ubuntu-24.04"] is None
    assert layers["rocky-8"] == layers["rocky-10"] == "dnf"
