"""What a gateway's nginx is told of the API keys: two files, included by its configuration. Pure.

keys.conf, for `http`: who a request is of, out of `$fleet_key_hash` (the SHA-256 of the key that came
with it, in lower-case hex, or empty).

    $fleet_key_name      the key's name; empty for an unknown one, and for a revoked one
    $fleet_key_models    `*`, or the full names of models that it may call, with spaces between
    $fleet_key_expires   the Unix time in seconds from which on it does not work, or empty
    $fleet_key_retry     after how many seconds a request that was too much may come again

It also says how large maps may be, so it is included before any other `map`. keys-limits.conf, for a
`location` or `server`: rates and numbers of requests, each key by itself; what is too much is a 429.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ollama_fleet.planner.api_key import ApiKey
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.templating import MARKER, HostFile

KEYS_FILE = "/etc/ollama/gateway/keys.conf"
LIMITS_FILE = "/etc/ollama/gateway/keys-limits.conf"
MODE = "0640"
# Words that mean something else at the beginning of a map's line.
MAP_WORDS = ("default", "hostnames", "include", "volatile")
# nginx takes 128 bytes for each name in a zone, and forgets the oldest when it is full.
KEYS_PER_MIB = 4096
# Buckets that hold several of the longest lines (a hash: 80 bytes), and so many that few share one.
BUCKET_BYTES = 1024
SMALLEST_HASH, HASH_PER_KEY = 2048, 4

Limit = str | int


def key_files(keys: Sequence[ApiKey], plan: GatewayPlan) -> list[HostFile]:
    """The two files of one gateway. Where it asks for no key, nobody is known and nothing limited."""
    known = keys if plan.needs_key else ()
    rates = _groups(known, lambda key: key.rate)
    numbers = _groups(known, lambda key: key.concurrent)
    head = list(_head(keys, plan))
    return [
        HostFile(KEYS_FILE, _text([*head, *_keys(known, rates, numbers)]), MODE),
        HostFile(LIMITS_FILE, _text([*head, *_limits(rates, numbers)]), MODE),
    ]


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _head(keys: Sequence[ApiKey], plan: GatewayPlan) -> Iterator[str]:
    yield f"# {MARKER}. Hashes of API keys, and what their holders may do."
    if not plan.needs_key:
        yield f"# `keys: none`: this gateway asks nobody for a key, so its {len(keys)} are not here."


def _groups(
    keys: Iterable[ApiKey], limit_of: Callable[[ApiKey], Limit | None]
) -> dict[Limit, list[str]]:
    """Each limit, and the names of the keys that have it."""
    found: dict[Limit, list[str]] = {}
    for key in keys:
        limit = limit_of(key)
        if limit is not None:
            found.setdefault(limit, []).append(key.name)
    return found


def _keys(
    keys: Sequence[ApiKey],
    rates: Mapping[Limit, list[str]],
    numbers: Mapping[Limit, list[str]],
) -> Iterator[str]:
    yield f"map_hash_bucket_size {BUCKET_BYTES};"
    yield f"map_hash_max_size {_hash_size(len(keys))};"
    yield from _map("hash", "key_name", "", [(key.sha256, key.name) for key in keys])
    models = [(key.name, " ".join(key.models)) for key in keys if key.models]
    yield from _map("name", "key_models", "*", models)
    ends = [(key.name, str(key.ends_at)) for key in keys if key.ends_at is not None]
    yield from _map("name", "key_expires", "", ends)
    waits = [(key.name, str(_wait_s(key.rate))) for key in keys if key.rate]
    yield from _map("name", "key_retry", "1", waits)
    for limit, names in [*rates.items(), *numbers.items()]:
        yield from _map("name", _zone(limit), "", [(name, name) for name in names])
    for limit, names in rates.items():
        yield f"limit_req_zone $fleet_{_zone(limit)} {_memory(limit, names)} rate={_rate(limit)};"
    for limit, names in numbers.items():
        yield f"limit_conn_zone $fleet_{_zone(limit)} {_memory(limit, names)};"


def _map(by: str, name: str, default: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f"map $fleet_key_{by} $fleet_{name} {{"
    yield f'    default "{default}";'
    for value, found in rows:
        plain = f"\\{value}" if value in MAP_WORDS else value
        yield f'    "{plain}" "{found}";'
    yield "}"


def _zone(limit: Limit) -> str:
    """The name of a limit's map and zone."""
    return f"rate_{limit.replace('/', '')}" if isinstance(limit, str) else f"concurrent_{limit}"


def _memory(limit: Limit, names: Sequence[str]) -> str:
    return f"zone=fleet_{_zone(limit)}:{1 + len(names) // KEYS_PER_MIB}m"


def _rate(limit: Limit) -> str:
    return str(limit).replace("/", "r/")


def _wait_s(rate: str) -> int:
    """Whole seconds until a used-up rate has one more."""
    number, _, unit = rate.partition("/")
    return math.ceil((60 if unit == "m" else 1) / int(number))


def _hash_size(keys: int) -> int:
    size = SMALLEST_HASH
    while size < HASH_PER_KEY * keys:
        size *= 2
    return size


def _limits(rates: Mapping[Limit, list[str]], numbers: Mapping[Limit, list[str]]) -> Iterator[str]:
    # What one caller does wrong is in the access log; the error log is for what is broken.
    yield "limit_req_status 429;"
    yield "limit_req_log_level info;"
    yield "limit_conn_status 429;"
    yield "limit_conn_log_level info;"
    for limit in rates:
        yield f"limit_req zone=fleet_{_zone(limit)}{_burst(limit)};"
    for limit in numbers:
        yield f"limit_conn fleet_{_zone(limit)} {limit};"


def _burst(limit: Limit) -> str:
    """A rate's whole number at once, and more as time goes by: clients come in bursts."""
    more = int(str(limit).partition("/")[0]) - 1
    return f" burst={more} nodelay" if more else ""
