"""What is said of the API keys that a gateway knows, beside those of the inventory's file."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ollama_fleet.checks import keys
from ollama_fleet.checks.model import CheckResult
from ollama_fleet.convergence import digest
from ollama_fleet.gateway.known_keys import KNOWN
from ollama_fleet.keys.kept import keys_in_force, keys_path_of
from ollama_fleet.keys.rendering import key_files
from ollama_fleet.planner.api_key import ApiKey
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.questions import Answer
from ollama_fleet.services.service import Found
from tests.unit.gateways import gateways

TODAY = datetime.now(UTC).date()
CI, SHOP, WEB = (ApiKey(name, n * 64) for n, name in (("a", "ci"), ("b", "shop"), ("c", "web")))
PLAN = replace(gateways()["gw1"], keys=(CI, SHOP))


def told(plan: GatewayPlan, there: GatewayPlan, known: str | None = None) -> CheckResult:
    """The result where the gateway's files are those of another plan; `known`: what they name instead."""
    files = key_files(there.keys, there)
    found = Found(files={file.path: ("640", digest(file)) for file in files})
    names = known if known is not None else "\n".join(key.name for key in there.keys)
    (result,) = keys.judge(plan, found, {KNOWN: Answer(names)})
    assert (result.host, result.subject, result.check) == (plan.host, "gateway gw1", "keys")
    assert bool(result.remedy) is (result.status != "ok")
    return result


def test_a_gateway_with_the_keys_of_the_file_is_well() -> None:
    result = told(PLAN, PLAN)
    assert (result.status, result.found) == ("ok", "2 keys")


@pytest.mark.parametrize(
    ("plan", "there", "words"),
    [
        (
            replace(PLAN, keys=(CI,), revoked=("shop",)),
            PLAN,
            "takes what was revoked: shop",
        ),
        (PLAN, replace(PLAN, keys=(CI, SHOP, WEB)), "takes what is not in the file: web"),
        (PLAN, replace(PLAN, keys=()), "does not know: ci, shop"),
        (
            replace(PLAN, keys=(CI, WEB), revoked=("shop",)),
            PLAN,
            "takes what was revoked: shop; does not know: web",
        ),
        (
            PLAN,
            replace(PLAN, keys=(CI, replace(SHOP, sha256="d" * 64))),
            "another key under one of the names, or other limits",
        ),
        (
            replace(PLAN, keys=(CI, replace(SHOP, rate="5/s"))),
            PLAN,
            "another key under one of the names, or other limits",
        ),
    ],
)
def test_a_gateway_that_knows_other_keys_fails(
    plan: GatewayPlan, there: GatewayPlan, words: str
) -> None:
    result = told(plan, there)
    assert (result.status, result.found) == ("failed", words)
    assert "gateway_part=keys" in result.remedy


def test_a_list_that_cannot_be_read_or_is_not_there_knows_nobody() -> None:
    assert told(PLAN, PLAN, known="").found == "does not know: ci, shop"


def test_of_many_only_some_are_named() -> None:
    many = tuple(ApiKey(f"k{number}", f"{number:064x}") for number in range(40))
    found = told(replace(PLAN, keys=many), replace(PLAN, keys=())).found
    assert found.startswith("does not know: k0, k1, ") and found.endswith(", and 35 more")


def test_where_no_key_is_asked_for_none_is_to_be_there() -> None:
    nobody = replace(PLAN, needs_key=False)
    assert told(nobody, replace(nobody, keys=()), known="").found == "0 keys"
    assert told(nobody, nobody, known="").found == "0 keys"
    assert told(nobody, nobody, known="ci").found == "takes what is not in the file: ci"


def test_a_mode_by_hand_is_no_matter_of_keys() -> None:
    files = {file.path: ("777", digest(file)) for file in key_files(PLAN.keys, PLAN)}
    (result,) = keys.judge(PLAN, Found(files=files), {KNOWN: Answer("ci\nshop")})
    assert result.status == "ok"


@pytest.mark.parametrize(
    ("life", "left", "warns"),
    [
        (90, 8, False),
        (90, 7, True),
        (90, 0, True),
        (90, -1, False),  # it has ended, as it was to
        (28, 3, False),  # it was made for a short time
        (29, 3, True),
    ],
)
def test_a_key_that_ends_soon_is_told_of(life: int, left: int, warns: bool) -> None:
    ends = TODAY + timedelta(days=left)
    plan = replace(
        PLAN, keys=(CI, replace(SHOP, expires=ends, created=ends - timedelta(days=life)))
    )
    result = told(plan, plan)
    words = f"shop works until {ends} only" if warns else "2 keys"
    assert (result.status, result.found) == ("warning" if warns else "ok", words)


def test_the_day_on_which_a_key_was_made_comes_from_the_file(tmp_path: Path) -> None:
    inventory = tmp_path / "prod.yml"
    keys_path_of(inventory).write_text(
        f"version: 1\nkeys:\n  ci: {{sha256: {'a' * 64}, created: {TODAY}, expires: {TODAY}}}\n"
    )
    (key,) = keys_in_force(inventory)
    assert (key.created, key.expires) == (TODAY, TODAY)
