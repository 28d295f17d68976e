"""A model registry as a client of this machine: manifests by tag, blobs by digest.

The protocol of container registries, with the tokens that those hand out on a 401. A `base` is the
address of one model, such as https://registry.ollama.ai/v2/library/qwen3. Names that have no digest
yet are its only input; what comes is checked by whoever keeps it.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from ollama_fleet import web
from ollama_fleet.store import blobs_of

ACCEPT = (
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.oci.image.manifest.v1+json"
)
LARGEST_MANIFEST_BYTES = 4 * 2**20
LARGEST_TOKEN_BYTES = 2**20


class RegistryError(Exception):
    """A registry does not give what was asked for; says which one, why, and what to do."""


@dataclass(frozen=True)
class Manifest:
    """What a tag means: the exact text of the manifest, by whose digest a model is known."""

    text: str

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of the very bytes."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def blobs(self) -> dict[str, int]:
        """sha256 (hex) of each blob to its size in bytes; empty when this is no manifest."""
        return blobs_of(self.text) or {}

    @property
    def bytes(self) -> int:
        """Size of the whole model."""
        return sum(self.blobs.values())


class Registry:
    """A client of all registries that a fleet names; keeps their tokens while it lives."""

    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}

    def manifest(self, base: str, tag: str) -> Manifest:
        """What `tag` is now. Raises RegistryError."""
        try:
            answer = self._ask(base, f"manifests/{tag}", headers={"Accept": ACCEPT})
            _stay_encrypted(answer)
            found = web.whole(answer, LARGEST_MANIFEST_BYTES)
        except web.FetchError as error:
            if error.not_there:
                raise RegistryError(
                    f"{base} has no tag {tag}: no such model or tag there"
                ) from None
            raise RegistryError(str(error)) from None
        manifest = Manifest(found.decode(errors="replace"))
        if not manifest.blobs or manifest.text.encode() != found:
            start = manifest.text[:80].replace("\n", " ")
            raise RegistryError(
                f"{base}/manifests/{tag} is no manifest of a model but '{start}…'; is that a registry?"
            )
        return manifest

    def blob(self, base: str, digest: str, first: int = 0) -> requests.Response:
        """The blob of a sha256 (hex), from byte `first` on. Raises web.FetchError."""
        return self._ask(base, f"blobs/sha256:{digest}", first=first)

    def _ask(
        self, base: str, path: str, *, first: int = 0, headers: dict[str, str] | None = None
    ) -> requests.Response:
        url = f"{base}/{path}"
        known = self._tokens.get(base)
        answer = web.ask(url, first=first, headers=headers, auth=_Bearer(known) if known else None)
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.status_code == requests.codes.unauthorized and challenge:
            answer.close()
            token = self._tokens[base] = _token(base, challenge)
            answer = web.ask(url, first=first, headers=headers, auth=_Bearer(token))
        return web.good(answer)


def _stay_encrypted(answer: requests.Response) -> None:
    """What a tag means is told over an encrypted connection, or by one that never was. Raises
    FetchError."""
    urls = [step.url for step in (*answer.history, answer)]
    if urls[0].startswith("https:") and not all(url.startswith("https:") for url in urls):
        raise web.FetchError(f"{urls[0]} sends on to {urls[-1].partition('?')[0]}, without TLS")


class _Bearer(AuthBase):
    """A token, in place of what ~/.netrc may have for the same machine."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _token(base: str, challenge: str) -> str:
    """What the realm of a challenge hands out: to anybody, or to the login in ~/.netrc. Raises
    FetchError."""
    said = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = said.get("realm", "")
    if not challenge.lower().startswith("bearer ") or urlsplit(realm).scheme not in (
        "http",
        "https",
    ):
        raise web.FetchError(f"{base} wants a login; put one into ~/.netrc", 401)
    if base.startswith("https:") and not realm.startswith("https:"):
        raise web.FetchError(f"{base} would hand out its tokens without TLS, at {realm}", 401)
    path = urlsplit(base).path.removeprefix("/v2/")
    asked = {
        "service": said.get("service", ""),
        "scope": said.get("scope", f"repository:{path}:pull"),
    }
    query = requests.models.PreparedRequest()
    query.prepare_url(realm, {key: value for key, value in asked.items() if value})
    try:
        answer = web.good(web.ask(str(query.url)))
    except web.FetchError as error:
        raise web.FetchError(f"{base} wants a token: {error}", 401) from None
    try:
        given = json.loads(web.whole(answer, LARGEST_TOKEN_BYTES))
        token = given.get("token") or given.get("access_token")
    except (web.FetchError, ValueError, AttributeError, RecursionError):
        token = None
    if not isinstance(token, str):
        raise web.FetchError(f"{realm} hands out no token for {base}", 401)
    return token
