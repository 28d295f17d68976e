"""The load generator counts what a user would: a lost request is seen as lost, a stall as a wait."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import cycle

import pytest

from benchmarks.fake_slices import Slice, serve
from benchmarks.load import Background, Load, Target, closed_loop, open_loop
from benchmarks.load_report import Report, Sample

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WORD, LAST = b'{"done":false}\n', b'{"done":true,"eval_count":7}\n'
ERROR = b'{"error":"llama-server process has terminated"}\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def plain(status: str, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 " + status.encode() + b"\r\nContent-Length: 2\r\n" + more + b"\r\n{}"


WHOLE = CHUNKED + chunk(WORD) + chunk(LAST) + b"0\r\n\r\n"
CUT = CHUNKED + chunk(WORD)
ENDED_WITHOUT_LAST_RECORD = CUT + b"0\r\n\r\n"
# A proxy may draw the borders of its chunks anywhere, also inside of the last record.
REFRAMED = CHUNKED + chunk(WORD + LAST[:8]) + chunk(LAST[8:]) + b"0\r\n\r\n"


def report_of(answers: list[bytes], seconds: float = 0.3, **more: object) -> Report:
    """What one client reports of a server that gives these answers in turn."""

    async def run() -> Report:
        left = cycle(answers)

        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while head := await reader.readuntil(b"\r\n\r\n"):
                    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    await reader.readexactly(length)
                    answer = next(left)
                    writer.write(answer)
                    if answer in (b"", CUT):
                        break
            except asyncio.IncompleteReadError:
                pass
            writer.close()

        server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        found = await closed_loop(f"http://127.0.0.1:{port}", "key", "m", 1, seconds, **more)
        server.close()
        return found

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "outcome", "is_lost"),
    [
        (WHOLE, "ok", False),
        (REFRAMED, "ok", False),
        (CUT, "cut", True),
        (ENDED_WITHOUT_LAST_RECORD, "cut", True),
        (CHUNKED + chunk(WORD) + chunk(ERROR) + b"0\r\n\r\n", "error", True),
        (b"", "closed", True),
        (plain("500 Internal Server Error"), "failed", True),
        (plain("502 Bad Gateway"), "failed", True),
        (plain("503 Service Unavailable", b"Retry-After: 2\r\n"), "busy", True),
        (plain("401 Unauthorized"), "refused", False),
    ],
)
def test_an_answer_that_is_not_whole_is_lost(answer: bytes, outcome: str, is_lost: bool) -> None:
    report = report_of([answer])
    assert set(report.outcomes) == {outcome} and bool(report.lost) == is_lost


def test_a_server_that_says_nothing_is_a_timeout_and_one_that_is_gone_unreachable() -> None:
    assert set(report_of([b" "], timeout_s=0.1).outcomes) == {"timeout"}
    gone = asyncio.run(closed_loop("http://127.0.0.1:1", None, "m", 1, 0.2))
    assert set(gone.outcomes) == {"unreachable"}


def test_tokens_come_from_the_last_record() -> None:
    report = report_of([WHOLE])
    assert report.as_json()["tokens"] == 7 * report.as_json()["requests"]


def on_a_slice(load: Callable[[str], Awaitable[Report]], one: Slice) -> Report:
    async def run() -> Report:
        (server,) = await serve([one], [0])
        found = await load(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        server.close()
        return found

    return asyncio.run(run())


def test_an_open_loop_counts_a_stall_for_everybody_who_should_have_asked() -> None:
    """One slice that takes 0.1 s, asked 20 times a second: each has to wait for all before."""

    class Slow(Slice):
        def take(self, exchange: object, numbers: dict[bytes, float]) -> None:
            super().take(exchange, {**numbers, b"service": 0.1})  # type: ignore[arg-type]

    report = on_a_slice(lambda url: open_loop(url, None, "m", 20, 1.5), Slow("slow"))
    assert len(report.samples) > 20 and not report.lost
    assert report.first_byte_s(95) > 0.5
    patient = on_a_slice(lambda url: closed_loop(url, None, "m", 1, 1.0), Slow("slow"))
    assert (
        patient.first_byte_s(95) < report.first_byte_s(95) / 2
    )  # the closed loop asks less: it does not see it


def test_a_load_in_the_background_ends_with_its_block() -> None:
    async def run() -> Report:
        (server,) = await serve([Slice("a", parallel=4)], [0])
        target = Target(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with Background(Load(target, "m"), clients=4) as load:
            await asyncio.to_thread(load.wait_for, 10)
            load.load.stop.set()
            await asyncio.sleep(0.3)
        server.close()
        return load.report

    assert not asyncio.run(run()).lost


def test_it_says_how_long_after_an_event_requests_were_hurt() -> None:
    def sample(meant_s: float, outcome: str = "ok", waited_s: float = 0.1) -> Sample:
        return Sample(meant_s, meant_s + waited_s, meant_s + waited_s, 0.0, 200, outcome)

    report = Report([sample(9, "cut"), sample(11, "cut"), sample(13, waited_s=4), sample(14)])
    assert report.hurt_for_s(10, usual_s=0.1) == pytest.approx(3)
    assert report.hurt_for_s(13.5, usual_s=0.1) == 0
