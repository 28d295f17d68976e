"""Which packages of NVIDIA's repositories hosts are going to want: the driver step's own rules."""

import gzip
import hashlib
from collections.abc import Iterator

import pytest

from ollama_fleet.bundle.apt import _packages
from ollama_fleet.bundle.dnf import read_dnf
from ollama_fleet.bundle.item import PartError, known
from ollama_fleet.bundle.repository import Package, driver_packages
from ollama_fleet.catalogue.distribution import distribution_named
from ollama_fleet.planner.provision import DriverRequest
from tests.unit.web_server import Site, serving


def package(name: str, version: str, *needs: str) -> Package:
    return Package(name, version, f"{name}_{version}.deb", 1, "0" * 64, frozenset(needs))


def both(version: str) -> list[Package]:
    """The open set of a Debian driver."""
    names = ("nvidia-kernel-open-dkms", "nvidia-driver-cuda")
    return [package(name, f"{version}-1") for name in names]


def versions(packages: list[Package], distribution: str = "debian12", **asked: object) -> list[str]:
    found = distribution_named(distribution, "x86_64")
    return driver_packages(DriverRequest(**asked), found, packages)[1]


def test_the_newest_of_the_first_branch_is_taken_by_its_number() -> None:
    offered = [*both("580.95.05"), *both("580.105.08"), *both("595.58.03")]
    assert versions(offered) == ["580.105.08"]
    assert versions(offered, branch=595) == ["595.58.03"]
    assert versions(offered, version="580.95.05") == ["580.95.05"]


def test_a_repository_without_the_first_branch_gives_the_second() -> None:
    assert versions(both("595.58.03")) == ["595.58.03"]
    with pytest.raises(
        PartError, match=r"no driver of branch 580 for Debian 12; it has 595\.58\.03"
    ):
        versions(both("595.58.03"), branch=580)


def test_a_version_that_lacks_a_package_of_its_set_is_none() -> None:
    offered = [*both("580.95.05"), package("nvidia-driver-cuda", "580.105.08-1")]
    assert versions(offered) == ["580.95.05"]
    # It would not be the other branch that a host takes then.
    with pytest.raises(PartError, match="no driver"):
        versions([package("nvidia-kernel-open-dkms", "580.95.05-1"), *both("595.58.03")])


def test_both_flavours_come_unless_one_is_asked_for() -> None:
    old = [
        package("nvidia-kernel-dkms", "580.65.06-1"),
        package("nvidia-driver-cuda", "580.65.06-1"),
    ]
    offered = [*both("580.95.05"), *old]
    assert versions(offered) == ["580.65.06", "580.95.05"]
    assert versions(offered, flavour="open") == ["580.95.05"]


def test_names_with_a_branch_are_known_on_distributions_that_have_them() -> None:
    names = ("nvidia-dkms-580-open", "libnvidia-compute-580", "nvidia-utils-580")
    offered = [package(name, "580.95.05-0ubuntu1") for name in names]
    assert versions(offered, "ubuntu2404") == ["580.95.05"]


def test_what_comes_besides() -> None:
    offered = [
        *both("580.95.05"),
        package("libnvidia-nscq", "580.95.05-1", "libglue"),
        package("kmod-nvidia-580.95.05-4.18.0-553", "3:580.95.05-1"),
        package("nvidia-driver-pinning-580", "580-1"),
        package("nvidia-driver-pinning-580.95.05", "580.95.05-1"),
        package("nvidia-driver-pinning-590", "590-1"),
        package("libglue", "1:1.9"),
        package("libglue", "1:1.10"),
        package("libglue", "7"),
        package("nvlsm", "2025.10"),
        package("nvlsm", "2025.6"),
        package("cuda-toolkit-13", "13.0"),
    ]
    request, distribution = DriverRequest(), distribution_named("debian-12", "x86_64")
    found = {one.file for one in driver_packages(request, distribution, offered)[0]}
    assert found == {
        *(one.file for one in both("580.95.05")),
        *("libnvidia-nscq_580.95.05-1.deb", "nvidia-driver-pinning-580_580-1.deb"),
        "nvidia-driver-pinning-580.95.05_580.95.05-1.deb",
        *("libglue_1:1.10.deb", "nvlsm_2025.10.deb"),
    }


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("debian12", "debian-12"),
        ("ubuntu-24.04", "ubuntu-24.04"),
        ("rocky9", "rhel-9"),
        ("rhel8", "rhel-8"),
    ],
)
def test_distributions_have_the_names_that_people_give_them(name: str, id: str) -> None:
    assert distribution_named(name, "x86_64").id == id


PRIMARY = """<?xml version="1.0"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
{rows}</metadata>"""
ROW = """<package type="rpm"><name>{name}</name><arch>{arch}</arch>
<version epoch="3" ver="580.95.05" rel="1.el9"/><checksum type="sha256" pkgid="YES">{digest}</checksum>
<size package="12"/><location href="{name}.rpm"/><format><rpm:requires><rpm:entry name="dkms"/>
<rpm:entry name="nvidia-kmod-common"/></rpm:requires></format></package>
"""
REPOMD = """<?xml version="1.0"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo"><data type="primary">
<checksum type="sha256">{digest}</checksum><location href="repodata/primary.xml.gz"/></data></repomd>"""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    arches = {"one": "x86_64", "two": "noarch", "three": "i686"}
    rows = "".join(ROW.format(name=n, arch=a, digest="a" * 64) for n, a in arches.items())
    primary = gzip.compress(PRIMARY.format(rows=rows).encode())
    digest = hashlib.sha256(primary).hexdigest()
    with serving(Site()) as site:
        site.files["/r/repodata/primary.xml.gz"] = primary
        site.files["/r/repodata/repomd.xml"] = REPOMD.format(digest=digest).encode()
        yield site


def test_a_dnf_repository_is_read_with_its_packages(site: Site) -> None:
    found = read_dnf(f"{site.url}/r", "here", "x86_64", b"", signed=False)
    assert [item.path for item in found.heads] == [
        "here/repodata/primary.xml.gz",
        "here/repodata/repomd.xml",
    ]
    assert [one.name for one in found.packages] == ["one", "two"]
    assert found.packages[0].driver_version == "580.95.05"
    assert found.packages[0].needs == {"dkms", "nvidia-kmod-common"}


def test_metadata_that_has_to_be_signed_and_is_not_is_refused(site: Site) -> None:
    with pytest.raises(PartError, match=r"repomd\.xml\.asc is not there"):
        read_dnf(f"{site.url}/r", "here", "x86_64", b"", signed=True)


GOOD = PRIMARY.format(rows=ROW.format(name="one", arch="x86_64", digest="a" * 64))
NONSENSE = {
    "no archive": b"<html>Log in</html>",
    "half of one": gzip.compress(GOOD.encode())[:-9],
    "no XML": gzip.compress(b"<metadata>"),
    "a size that is none": gzip.compress(GOOD.replace('package="12"', 'package="x"').encode()),
}


@pytest.mark.parametrize("primary", NONSENSE.values(), ids=NONSENSE)
def test_a_list_of_packages_that_is_none_is_said(site: Site, primary: bytes) -> None:
    site.files["/r/repodata/primary.xml.gz"] = primary
    digest = hashlib.sha256(primary).hexdigest()
    site.files["/r/repodata/repomd.xml"] = REPOMD.format(digest=digest).encode()
    with pytest.raises(PartError, match="primary"):
        read_dnf(f"{site.url}/r", "here", "x86_64", b"", signed=False)


@pytest.mark.parametrize("line", ["Version: 1\n", "Size: 1\n", "Filename: x.deb\n", "SHA256: a\n"])
def test_a_package_without_a_line_is_said(line: str) -> None:
    rows = "Package: x\nArchitecture: amd64\nVersion: 1\nSize: 1\nFilename: x.deb\nSHA256: a\n"
    for text in (rows.replace(line, ""), rows.replace("Size: 1", "Size: x")):
        with pytest.raises(PartError, match="lists the package 'x' without a usable"):
            list(_packages("http://x", "amd64", known("Packages", text.encode(), "http://x")))


@pytest.mark.parametrize("digest", ["/tmp/x", "../../../../.bashrc", "A" * 64, ""])
def test_a_digest_that_is_a_path_leads_nowhere(site: Site, digest: str) -> None:
    """Metadata may be unsigned; the download of a package is named by its digest."""
    rows = ROW.format(name="one", arch="x86_64", digest=digest)
    primary = gzip.compress(PRIMARY.format(rows=rows).encode())
    site.files["/r/repodata/primary.xml.gz"] = primary
    digest = hashlib.sha256(primary).hexdigest()
    site.files["/r/repodata/repomd.xml"] = REPOMD.format(digest=digest).encode()
    found = read_dnf(f"{site.url}/r", "here", "x86_64", b"", signed=False)
    with pytest.raises(PartError, match="which is no sha256"):
        found.part("driver", found.packages, found.heads[0])


def test_metadata_that_is_being_changed_is_refused(site: Site) -> None:
    site.files["/r/repodata/primary.xml.gz"] += b"x"
    with pytest.raises(PartError, match="the repository is being changed"):
        read_dnf(f"{site.url}/r", "here", "x86_64", b"", signed=False)
