"""The router reads JSON as a parser does, however it is written: what it takes, a parser takes, and finds the
same model in it."""

import json
import random
from typing import Any

from tests.gateway.front import POOLS_BY_MODEL, Front

ROUNDS = 600
PIECES = [
    *'{}[]":,\\ \n\t',
    "\\u0041",
    "\\n",
    "1",
    "-0",
    "1e9",
    ".5",
    "null",
    "true",
    '"model"',
    '"x":1',
    "é",
]
LEAVES: list[Any] = [
    "",
    "a",
    'q"}',
    "\\",
    "é😀\n",
    0,
    -1.5e-9,
    10**20,
    True,
    None,
    "model",
    "{",
    "]",
]


def value(dice: random.Random, depth: int) -> Any:
    kind = dice.random()
    if depth == 0 or kind < 0.5:
        return dice.choice(LEAVES)
    if kind < 0.75:
        return [value(dice, depth - 1) for _ in range(dice.randrange(4))]
    return {
        f"k{n}{dice.choice(['', 'é', ' '])}": value(dice, depth - 1)
        for n in range(dice.randrange(4))
    }


def document(dice: random.Random) -> str:
    members = {f"m{n}": value(dice, 4) for n in range(dice.randrange(5))}
    members["model"] = dice.choice(list(POOLS_BY_MODEL))
    names = list(members)
    dice.shuffle(names)
    spaces = dice.choice([None, 1, "\t"])
    return json.dumps(
        {name: members[name] for name in names}, indent=spaces, ensure_ascii=dice.random() < 0.5
    )


def broken(dice: random.Random, text: str) -> str:
    for _ in range(dice.randrange(4)):
        at = dice.randrange(len(text) + 1)
        upto = at + dice.choice([0, 0, 1, 2, 5])
        text = text[:at] + dice.choice(["", *PIECES]) + text[upto:]
    return text


def parsed(text: str) -> dict[str, Any] | None:
    """What a strict parser makes of it; None where it is no object, or one with a name twice."""

    def counted(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {**dict(pairs), "\0pairs": len(pairs)}

    def never(word: str) -> Any:
        raise ValueError(word)

    try:
        found = json.loads(text, object_pairs_hook=counted, parse_constant=never)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.pop("\0pairs") != len(found):
        return None
    return found


def is_plain(name: str) -> bool:
    return name.isascii() and name.isprintable()


def test_what_the_router_takes_is_what_a_parser_takes(front: Front) -> None:
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    taken = 0
    for _ in range(ROUNDS):
        text = broken(dice, document(dice))
        front.balancer.requests.clear()
        status = front.post("/api/show", text).status_code
        found = parsed(text)
        where = f"seed {seed}: {status} for {text!r}"
        if found is None or not isinstance(found.get("model"), str):
            assert status == 400, where
        elif found["model"] in POOLS_BY_MODEL and all(map(is_plain, found)):
            taken += 1
            assert status == 200, where
            [request] = front.balancer.requests
            assert request.pool == POOLS_BY_MODEL[found["model"]], where
            assert request.body == text.encode(), where
        else:
            assert status in (400, 404), where
    assert ROUNDS / 10 < taken < ROUNDS
