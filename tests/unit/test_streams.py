"""Programs that stay on a machine: they answer words, and their end is told with what they said last."""

import pytest

from ollama_fleet.host.streams import SilentError, Stream, StreamError, _Local

END = "\001end"
ECHO = f"while read -r word; do printf '%s\\n%s\\n' \"said $word\" '{END}'; done"


def test_each_word_has_its_answer() -> None:
    stream = Stream(_Local(ECHO))
    assert stream.ask("one", END, 10) == ["said one", END, ""]
    assert stream.ask("two", END, 10)[0] == "said two"
    stream.close()


def test_one_that_hangs_is_told_apart_from_one_that_is_gone() -> None:
    stream = Stream(_Local("exec sleep 20"))
    with pytest.raises(SilentError, match=r"no answer within 0\.2 s; does `nvidia-smi` hang"):
        stream.ask("one", END, 0.2)
    stream.close()
    with pytest.raises(
        StreamError, match=r"connection was lost \(sudo: a password is required"
    ) as e:
        Stream(_Local("echo 'sudo: a password is required' >&2; read -r x; exit 1")).ask(
            "x", END, 9
        )
    assert not isinstance(e.value, SilentError)


def test_one_that_never_comes_to_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ollama_fleet.host.streams.MOST_BYTES", 100_000)
    stream = Stream(_Local("exec cat /dev/zero"))
    with pytest.raises(StreamError, match="too much"):
        stream.ask("one", END, 10)
    stream.close()


def test_what_is_no_text_is_shown_as_such() -> None:
    stream = Stream(_Local(f"read -r x; printf '\\377\\n%s\\n' '{END}'"))
    assert stream.ask("one", END, 10)[0] == "\N{REPLACEMENT CHARACTER}"
