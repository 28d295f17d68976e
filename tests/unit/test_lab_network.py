"""Addresses of lab hosts: an inventory can rely on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import LabError, UsageError
from lab.network import assign_address, choose_address
from lab.state import LabPaths, check_name


@pytest.mark.parametrize(
    ("name", "address"),
    [("mirror", "10.77.0.2"), ("gpu01", "10.77.0.11"), ("gpu2", "10.77.0.12")],
)
def test_well_known_names_have_fixed_addresses(name: str, address: str) -> None:
    assert choose_address(name, taken=[]) == address


def test_other_names_get_the_first_free_address() -> None:
    assert choose_address("db", taken=["10.77.0.100"]) == "10.77.0.101"


def test_two_names_for_one_number_are_refused() -> None:
    with pytest.raises(LabError, match=r"10\.77\.0\.11"):
        choose_address("gpu1", taken=["10.77.0.11"])


def test_no_address_is_left_at_some_point() -> None:
    with pytest.raises(LabError, match="taken"):
        choose_address("db", taken=[f"10.77.0.{n}" for n in range(256)])


def test_address_stays_with_its_name(tmp_path: Path) -> None:
    paths = LabPaths(tmp_path)

    first, second = assign_address(paths, "db"), assign_address(paths, "web")

    assert assign_address(paths, "db") == first != second


@pytest.mark.parametrize("name", ["GPU1", "1gpu", "a" * 13, "a_b", "", "../etc"])
def test_names_that_no_host_can_have_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        check_name(name)
