"""Rules on Ollama's releases: what is no pin, what is too old, what does not serve where."""

import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_fleet.catalogue.release import (
    archive_problem,
    asset,
    default_archive,
    read_version,
    suggested,
    version_problems,
)
from ollama_fleet.load import load_fleet
from ollama_fleet.problems import InputError
from ollama_fleet.release.sums import archive_sums
from ollama_fleet.release.wanted import ReleaseRefusedError, wanted_release
from ollama_fleet.spec.ollama import OllamaSpec

ROOT = Path(__file__).parents[2]
NUMBERS = st.tuples(*[st.integers(0, 400)] * 3)
SUMS = {"amd64": "a" * 64, "arm64": "b" * 64}


def spelled(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))


@given(NUMBERS, NUMBERS)
def test_versions_are_numbers_and_not_text(first: tuple, second: tuple) -> None:
    assert read_version(spelled(first)) == first
    assert (read_version(spelled(first)) < read_version(spelled(second))) == (first < second)


@given(NUMBERS)
def test_nothing_below_the_oldest_is_installed_and_all_above_it_may_be(version: tuple) -> None:
    assert bool(version_problems(spelled(version), mig=False)) == (version < (0, 31, 2))


@given(NUMBERS)
def test_mig_hosts_hear_of_mig_where_it_breaks(version: tuple) -> None:
    said = " ".join(version_problems(spelled(version), mig=True))
    assert ("on a MIG instance" in said) == ((0, 13, 2) <= version <= (0, 24, 0))
    assert "MIG" not in " ".join(version_problems(spelled(version), mig=False))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("latest", "'latest' is another release each time"),
        ("Latest", "'Latest' is another release each time"),
        ("0.33.0-rc2", "'0.33.0-rc2' is a release candidate"),
        ("v0.33.0-rc2", "is a release candidate"),
        ("0.33.0rc1", "is a release candidate"),
        ("v0.32.15", "is the name of a tag; write it as 0.32.15"),
        ("0.32", "'0.32' is no release of the form x.y.z; use one such as 0.32.15"),
        ("0.32.15; reboot", "is no release of the form"),
        ("0.32.15\n", "is no release of the form"),
        ("../0.32.15", "is no release of the form"),
    ],
)
def test_what_is_no_pin_is_refused_by_name(name: str, words: str) -> None:
    (said,) = version_problems(name, mig=False)
    assert words in said


def test_an_old_release_brings_back_its_holes_by_name() -> None:
    (said,) = version_problems("0.17.0", mig=False)
    assert "CVE-2026-7482" in said and "mended in 0.31.2" in said
    assert "Use 0.31.2 or newer, such as 0.32.15" in said
    (said,) = version_problems("0.17.1", mig=False)
    assert "CVE-2026-7482" not in said and "hostile GGUF" in said


def test_what_we_suggest_and_ship_is_not_refused() -> None:
    shipped = runpy.run_path(str(ROOT / "group_data/all.py"))
    for version in (suggested(), shipped["ollama_version"]):
        assert version_problems(version, mig=True) == []
    assert isinstance(shipped["ollama_pins"], dict)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ollama-linux-amd64-rocm.tar.zst", "is only ROCm libraries"),
        ("ollama-linux-{arch}-jetpack6.tar.zst", "is only JetPack's CUDA libraries, no server"),
        ("ollama-linux-{arch}-mlx.tar.zst", "is only the MLX runtime, no server"),
        ("ollama-darwin.tgz", "a program for another system"),
        ("folder/{arch}.tgz", "is no name of an asset"),
        ("ollama-{version}.tgz", "is no name of an asset"),
        ("-o.tgz", "is no name of an asset"),
        ("a b.tgz", "is no name of an asset"),
    ],
)
def test_archives_without_a_server_are_refused_by_name(name: str, words: str) -> None:
    said = archive_problem(name)
    assert said and words in said and default_archive() in said


@pytest.mark.parametrize("name", ["ollama-linux-{arch}.tgz", "ours_{arch}.tar.zst", "one.tgz"])
def test_other_names_of_archives_are_fine(name: str) -> None:
    assert archive_problem(name) is None
    assert asset(name, "arm64") == name.replace("{arch}", "arm64")


LIST = f"""{"1" * 64}  ./ollama-linux-amd64-rocm.tar.zst
{"A" * 64}  ./ollama-linux-amd64.tar.zst
{"2" * 64} *ollama-linux-arm64.tar.zst
{"3" * 64}  ./ollama-linux-amd64.tgz
{"4" * 64}  ./install.sh
"""


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_the_sums_are_those_of_the_archive_and_no_other(ends: str) -> None:
    text = LIST.replace("\n", ends)
    assert archive_sums(text, default_archive()) == {"amd64": "a" * 64, "arm64": "2" * 64}
    assert archive_sums(text, "ollama-linux-{arch}.tgz") == {"amd64": "3" * 64}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<html>log in</html>", "is it a release's sha256sum.txt"),
        (LIST, "it has ollama-linux-amd64-rocm.tar.zst, ollama-linux-amd64.tar.zst"),
    ],
)
def test_a_list_without_the_archive_says_what_it_has(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="holds no checksum of mine-") as caught:
        archive_sums(text, "mine-{arch}.tgz")
    assert words in str(caught.value)


@given(st.text())
def test_any_text_is_a_list_or_told_to_be_none(text: str) -> None:
    try:
        assert archive_sums(text, default_archive())
    except ValueError as error:
        assert "holds no checksum" in str(error)


GOOD = {
    "ollama_version": "0.32.15",
    "ollama_pins": {"0.32.15": SUMS, "0.32.14": {"amd64": "c" * 64}},
    "ollama_release_url": "http://mirror/releases/",
}


def test_the_pin_follows_the_version() -> None:
    assert wanted_release(GOOD.get).sha256 == SUMS
    back = wanted_release({**GOOD, "ollama_version": "0.32.14"}.get)
    assert back.sha256 == {"amd64": "c" * 64}
    assert back.url("amd64") == "http://mirror/releases/v0.32.14/ollama-linux-amd64.tar.zst"
    assert (back.keep_versions, back.delivery) == (2, "host")


def test_the_inventory_s_own_checksum_goes_first() -> None:
    assert wanted_release({**GOOD, "ollama_sha256": {"amd64": "d" * 64}}.get).sha256 == {
        "amd64": "d" * 64
    }


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"ollama_version": "0.32.13"}, "no checksum is pinned for Ollama 0.32.13; run `fleet pin"),
        ({"ollama_pins": None}, "no checksum is pinned"),
        ({"ollama_version": "0.24.0"}, "known security holes"),
        ({"ollama_version": None}, "'None' is no release"),
        ({"ollama_pins": {"0.32.15": {"amd64": "$(reboot)"}}}, "no map of amd64 and arm64"),
        ({"ollama_pins": {"0.32.15": "aa"}}, "no map of amd64 and arm64"),
        ({"ollama_sha256": {"x86": "a" * 64}}, "no map of amd64 and arm64"),
        ({"ollama_archive": "x-rocm.tgz"}, "only ROCm libraries"),
        ({"ollama_delivery": "pigeon"}, "'pigeon' is neither host nor controller"),
        ({"ollama_keep_versions": -1}, "'-1' is no number"),
    ],
)
def test_settings_that_no_host_should_run_are_refused(setting: dict, words: str) -> None:
    with pytest.raises(ReleaseRefusedError) as caught:
        wanted_release({**GOOD, **setting}.get)
    assert words in str(caught.value)


INVENTORY = """\
version: 1
ollama: {{version: {fleet}}}
hosts:
  plain: {{ollama: {{{host}}}}}
  cut:
    gpus: [{{model: A100 40GB}}]
    mig: [{{gpus: [0], profiles: [3g.20gb]}}]
"""


@pytest.mark.parametrize(
    ("fleet", "host", "words"),
    [
        (
            "0.32.15",
            "version: 0.30.0",
            "hosts.plain.ollama.version: plain: Ollama 0.30.0 has known",
        ),
        ("0.20.0", "version: 0.32.15", ":2 ollama.version: cut: Ollama 0.20.0 has known security"),
        ("0.20.0", "version: 0.32.15", "this host has MIG instances. Use 0.32.15"),
        ("0.33.0-rc1", "", ":2 ollama.version: '0.33.0-rc1' is a release candidate"),
        ("0.32.15", "archive: a-rocm.tgz", "hosts.plain.ollama.archive: 'a-rocm.tgz' is only ROCm"),
        ("0.32.15", "delivery: pigeon", "hosts.plain.ollama.delivery"),
        ("0.32.15", "keep_versions: -1", "hosts.plain.ollama.keep_versions"),
    ],
)
def test_an_inventory_that_names_a_bad_release_is_refused_before_any_host(
    tmp_path: Path, fleet: str, host: str, words: str
) -> None:
    path = tmp_path / "prod.yml"
    path.write_text(INVENTORY.format(fleet=fleet, host=host))
    with pytest.raises(InputError) as caught:
        load_fleet(path)
    assert words in str(caught.value)


def test_a_good_one_is_not_refused(tmp_path: Path) -> None:
    path = tmp_path / "prod.yml"
    path.write_text(INVENTORY.format(fleet="0.32.15", host="version: 0.31.2, keep_versions: 0"))
    assert load_fleet(path).hosts["plain"].ollama.keep_versions == 0


@pytest.mark.parametrize(
    ("base", "over", "left"),
    [
        ({"version": "0.32.15", "sha256_file": "f"}, {"version": "0.32.14"}, (None, None)),
        ({"version": "0.32.15", "sha256_file": "f"}, {"version": "0.32.15"}, (None, "f")),
        ({"version": "0.32.15", "sha256_file": "f"}, {"sha256": SUMS}, (SUMS, None)),
        ({"sha256": SUMS}, {"sha256_file": "f"}, (None, "f")),
        ({"sha256": SUMS}, {"delivery": "controller"}, (SUMS, None)),
    ],
)
def test_a_checksum_of_the_fleet_is_not_taken_for_another_version(
    base: dict, over: dict, left: tuple
) -> None:
    result = OllamaSpec(**over).over(OllamaSpec(**base))
    assert (result.sha256, result.sha256_file) == left
