"""How the environment and the small languages of the API are read."""

import pytest
from standin import durations, names, settings


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "127.0.0.1:11434"),
        ("10.0.0.1", "10.0.0.1:11434"),
        ("10.0.0.1:8000", "10.0.0.1:8000"),
        ("http://host", "host:80"),
        ("https://host", "host:443"),
        ("http://host:8000/path", "host:8000"),
        (":8000", ":8000"),
        ("host:99999", "host:11434"),
        ("http://host:port", "host:80"),
        ("[::1]:8000", "[::1]:8000"),
        ("::1", "[::1]:11434"),
    ],
)
def test_host_variable(text, shown):
    assert str(settings.address(text)) == shown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 300),
        ("0", 0),
        ("90", 90),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("-1", float("inf")),
        ("-1m", float("inf")),
        ("soon", 300),
    ],
)
def test_keep_alive_variable(text, seconds):
    assert settings.read({"HOME": "/h", "OLLAMA_KEEP_ALIVE": text}).keep_alive_s == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(0, 0), (1.5, 1.5), (-1, float("inf")), ("2m", 120), ("-5s", float("inf"))],
)
def test_keep_alive_of_a_request(value, seconds):
    assert durations.keep_alive_of_request(value) == seconds


@pytest.mark.parametrize("value", ["5", "5 minutes", "", True, None])
def test_bad_keep_alive_of_a_request(value):
    with pytest.raises(ValueError):
        durations.keep_alive_of_request(value)


def test_values_are_trimmed_and_odd_words_count_as_true():
    found = settings.read(
        {
            "HOME": "/h",
            "OLLAMA_NOPRUNE": " 'yes' ",
            "OLLAMA_VULKAN": "False",
            "OLLAMA_MODELS": '"/m"',
        }
    )
    assert (found.no_prune, found.vulkan, str(found.models)) == (True, False, "/m")
    assert settings.read({"HOME": "/h"}).vulkan is True
    assert settings.read({"HOME": "/h", "OLLAMA_NUM_PARALLEL": "many"}).num_parallel == 1


@pytest.mark.parametrize(
    ("text", "shown", "host"),
    [
        ("qwen3", "qwen3:latest", "registry.ollama.ai"),
        ("library/qwen3:8b", "qwen3:8b", "registry.ollama.ai"),
        ("me/qwen3:8b", "me/qwen3:8b", "registry.ollama.ai"),
        ("10.77.0.2:80/library/qwen3:8b", "10.77.0.2:80/library/qwen3:8b", "10.77.0.2:80"),
        ("http://mirror/library/qwen3:8b", "mirror/library/qwen3:8b", "mirror"),
    ],
)
def test_names(text, shown, host):
    name = names.parse(text)
    assert (str(name), name.host) == (shown, host)


@pytest.mark.parametrize("text", ["", "a/b/c/d", "../x", "a:b:c", "x" * 81, "a b", "a/../b"])
def test_bad_names(text):
    with pytest.raises(names.BadNameError):
        names.parse(text)
