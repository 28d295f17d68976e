"""The keys that hosts trust repositories by: fetched, or the inventory's own, and held against the pin."""

import base64

from ollama_fleet import web
from ollama_fleet.bundle.item import PartError
from ollama_fleet.pgp import BadKeyError, fingerprints


def repository_key(url: str, given: str | None, fingerprint: str | None) -> bytes:
    """The key at `url`, or the inventory's own one (`given`, base64-coded). Raises PartError and
    web.FetchError.

    + fingerprint: of its only key, in hex; None takes any, as a host would
    """
    key = base64.b64decode(given) if given else web.content(url, 2**20)
    where = "the inventory's `key:`" if given else url
    try:
        found = fingerprints(key)
    except BadKeyError as error:
        raise PartError(f"{where} {error}") from None
    if fingerprint and found != [fingerprint.upper()]:
        raise PartError(
            f"the key at {where} has the fingerprint {' '.join(found)}, and pinned is "
            f"{fingerprint.upper()}. Ask whoever runs the repository before you change the pin"
        )
    return key
