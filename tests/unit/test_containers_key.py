"""The toolkit repository's key: fetched and compared, or given by the inventory."""

import base64

from ollama_fleet.containers.packages import FINGERPRINT, key_step, source_files
from ollama_fleet.planner.provision import ToolkitRequest

GIVEN = ToolkitRequest(key=base64.b64encode(b"mine").decode())


def test_a_given_key_is_sent_and_none_is_fetched() -> None:
    for kind in ("apt", "dnf"):
        text = key_step(kind, GIVEN)
        assert "curl" not in text and f"echo {GIVEN.key} | base64 -d" in text
        assert FINGERPRINT not in text
    assert "curl" in key_step("apt", ToolkitRequest()) and FINGERPRINT in key_step(
        "apt", ToolkitRequest()
    )


def test_another_key_is_another_source() -> None:
    other = ToolkitRequest(key=base64.b64encode(b"yours").decode())
    texts = {source_files("apt", "x86_64", request)[0].text for request in (GIVEN, other)}
    assert len(texts) == 2
