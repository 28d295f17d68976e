"""The kernel-module flavour, from PCI ids before any driver is there."""

import pytest

from ollama_fleet.driver.flavour import NoFlavourError, needs_of, version_key

P100, V100S, T4, RTX3090, H100, GH200 = 0x15F8, 0x1DF6, 0x1EB8, 0x2204, 0x2330, 0x2342
B200, RTX_PRO_6000, GB300, K80, GTX1080 = 0x2901, 0x2BB5, 0x31C2, 0x102D, 0x1B80


@pytest.mark.parametrize(
    ("ids", "flavours", "last"),
    [
        ([P100], ("proprietary",), 580),
        ([V100S], ("proprietary",), 580),
        ([T4], ("open", "proprietary"), None),
        ([RTX3090, H100], ("open", "proprietary"), None),
        ([GH200], ("open",), None),
        ([B200], ("open",), None),
        ([RTX3090, RTX_PRO_6000], ("open",), None),
        ([GTX1080, RTX3090], ("proprietary",), 580),
    ],
)
def test_cards_get_modules_that_can_drive_them(
    ids: list[int], flavours: tuple[str, ...], last: int | None
) -> None:
    needs = needs_of(ids)
    assert (needs.flavours, needs.last_branch) == (flavours, last)


def test_pascal_beside_blackwell_has_no_driver_and_is_refused() -> None:
    with pytest.raises(NoFlavourError, match=r"10de:1b80.*10de:2bb5.*different hosts"):
        needs_of([GTX1080, RTX_PRO_6000])


def test_kepler_is_refused() -> None:
    with pytest.raises(NoFlavourError, match="10de:102d is older than Maxwell"):
        needs_of([K80])


@pytest.mark.parametrize(("ids", "asked"), [([B200], "proprietary"), ([P100], "open")])
def test_a_flavour_that_cannot_drive_the_card_is_refused(ids: list[int], asked: str) -> None:
    with pytest.raises(NoFlavourError, match="can only use the"):
        needs_of(ids, asked)


def test_a_flavour_that_is_asked_for_is_the_only_one_taken() -> None:
    assert needs_of([RTX3090], "proprietary").flavours == ("proprietary",)


@pytest.mark.parametrize(
    ("ids", "floor"),
    [([RTX3090], "550"), ([P100], "570"), ([V100S], "550"), ([GB300], "595.58.03")],
)
def test_each_card_knows_its_oldest_driver(ids: list[int], floor: str) -> None:
    assert needs_of(ids).floor == floor


def test_versions_are_ordered_by_number() -> None:
    assert version_key("580.95.05") < version_key("580.105.08") < version_key("595.58.03")
