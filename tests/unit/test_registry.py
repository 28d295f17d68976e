"""The client of model registries, against a server of this test's own."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from requests import Response

from ollama_fleet import web
from ollama_fleet.registry import Registry, RegistryError, _stay_encrypted, _token
from tests.unit.web_server import Site, serving

NAME = "library/qwen3"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """A registry with one model; tries follow each other at once, and no login of this machine counts."""
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda retry: 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(Site()) as site:
        site.add_model(NAME, "8b", b"weights")
        yield site


def base(site: Site) -> str:
    return f"{site.url}/v2/{NAME}"


def test_a_tag_is_its_manifest_to_the_byte(site: Site) -> None:
    found = Registry().manifest(base(site), "8b")
    assert found.text.encode() == site.files[f"/v2/{NAME}/manifests/8b"]
    assert found.digest == site.add_model(NAME, "8b", b"weights")
    assert found.bytes == sum(found.blobs.values()) > len(b"weights")


def test_a_registry_that_wants_a_token_is_given_one_and_keeps_it(site: Site) -> None:
    site.token = "secret"
    registry = Registry()
    blob = next(iter(registry.manifest(base(site), "8b").blobs))
    assert registry.blob(base(site), blob).content
    assert site.paths().count("/token") == 1
    assert site.logins.count("Bearer secret") == 2


def test_a_login_of_netrc_goes_to_whoever_hands_out_tokens(site: Site, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    site.token = "given"
    Registry().manifest(base(site), "8b")
    asked = dict(zip(site.paths(), site.logins, strict=True))
    assert (asked["/token"] or "").startswith("Basic ")
    assert asked[f"/v2/{NAME}/manifests/8b"] == "Bearer given"


def test_a_busy_registry_is_asked_again(site: Site) -> None:
    path = f"/v2/{NAME}/manifests/8b"
    site.busy[path] = web.TRIES
    assert Registry().manifest(base(site), "8b").blobs
    assert site.paths().count(path) == web.TRIES + 1
    site.busy[path] = web.TRIES + 1
    with pytest.raises(RegistryError, match="the server says 503"):
        Registry().manifest(base(site), "8b")


def test_what_is_not_there_is_said(site: Site) -> None:
    with pytest.raises(RegistryError, match="has no tag 9b: no such model or tag there"):
        Registry().manifest(base(site), "9b")


@pytest.mark.parametrize(
    "content", [b"<html>Log in</html>", b"{}", b'{"config": {"digest": "sha256:../x", "size": 1}}']
)
def test_what_is_no_manifest_is_no_model(site: Site, content: bytes) -> None:
    site.files[f"/v2/{NAME}/manifests/8b"] = content
    with pytest.raises(RegistryError, match="is no manifest of a model"):
        Registry().manifest(base(site), "8b")


def test_a_registry_that_is_not_there_is_said_with_its_address(site: Site) -> None:
    with pytest.raises(
        RegistryError, match=r"http://127\.0\.0\.1:1/.* cannot be fetched: .*refused"
    ):
        Registry().manifest(f"http://127.0.0.1:1/v2/{NAME}", "8b")


def test_a_login_that_nobody_has_is_asked_for(site: Site) -> None:
    site.token = "one"
    registry = Registry()
    registry.manifest(base(site), "8b")
    site.token = None
    site.files.clear()
    site.files["/v2/x"] = b""
    # Another realm than one that speaks of tokens.
    with pytest.raises(web.FetchError, match=r"wants a login; put one into ~/\.netrc"):
        _token("https://there/v2/a/b", 'Basic realm="here"')
    with pytest.raises(web.FetchError, match="without TLS"):
        _token("https://there/v2/a/b", 'Bearer realm="http://there/token"')


def test_a_token_without_end_is_not_read(site: Site) -> None:
    site.token = "x" * 2**21
    with pytest.raises(RegistryError, match="hands out no token"):
        Registry().manifest(base(site), "8b")


@pytest.mark.parametrize("said", ["\xb2", "x", "", "-1"])
def test_a_length_that_is_no_number_is_none(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    answer = Response()
    answer.status_code, answer.raw = 200, BytesIO()
    answer.headers["Content-Length"] = said
    monkeypatch.setattr(web, "ask", lambda *_, **__: answer)
    assert web.length_of("http://x") is None


def test_a_manifest_that_is_told_without_tls_after_all_is_not_believed() -> None:
    first, last = Response(), Response()
    first.url, last.url = "https://there/v2/a/b/manifests/1", "http://there/other?x=1"
    last.history = [first]
    with pytest.raises(web.FetchError, match="sends on to http://there/other, without TLS"):
        _stay_encrypted(last)
    first.url = "http://there/v2/a/b/manifests/1"
    _stay_encrypted(last)
