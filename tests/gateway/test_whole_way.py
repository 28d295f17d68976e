"""From a client to a slice and back: the real nginx, balancer and hop, with TLS in between."""

import asyncio
import contextlib
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.balancers import free_ports
from benchmarks.fake_slices import Slice, serve
from benchmarks.load import SHORT, Load
from benchmarks.load_client import Answer, Pool, Target
from benchmarks.loopback import MODEL, Way, running


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a short name: HAProxy takes paths of sockets up to 97 characters, and those of pytest's
    workers are longer."""
    with tempfile.TemporaryDirectory(prefix="way") as folder:
        yield Path(folder)


@contextlib.asynccontextmanager
async def way_to(
    folder: Path, parallel: int, gone: int = 0
) -> AsyncIterator[tuple[Way, Target, list[Slice]]]:
    """Two slices behind a gateway, and some more that are gone."""
    slices = [Slice(f"s{number}", parallel) for number in range(2)]
    ports = free_ports(len(slices) + gone)
    servers = await serve(slices, ports[: len(slices)])
    with contextlib.ExitStack() as stack:
        starting = running(folder, ports, parallel)
        way = await asyncio.to_thread(stack.enter_context, starting)
        await asyncio.sleep(2)
        yield way, Target(way.url, way.key, way.ca), slices
    for server in servers:
        server.close()


def test_who_gives_up_leaves_the_queue_and_the_slice(short_path: Path) -> None:
    """Else an answer that nobody reads would hold a slice, and others would wait for it."""

    async def run() -> tuple[list[Answer], Answer]:
        async with way_to(short_path, parallel=1) as (_, target, slices):
            pool = Pool(target)
            asked = [ask(pool, "service=20", 1.0) for _ in range(4)]
            given_up = await asyncio.gather(*asked)
            freeing = asyncio.create_task(freed(slices))
            later = await ask(pool, "now", 15.0)
            freeing.cancel()
            return given_up, later

    given_up, later = asyncio.run(run())
    assert {answer.failure for answer in given_up} == {"timeout"}
    assert later.status == 200 and later.is_finished


async def freed(slices: list[Slice]) -> None:
    """As Ollama does when its client leaves; one that had still been waiting may come a moment later."""
    while True:
        for one in slices:
            one.running, waiting = 0, list(one.queue)
            one.queue.clear()
            for exchange, numbers in waiting:
                one.take(exchange, numbers)
        await asyncio.sleep(0.05)


async def ask(pool: Pool, words: str, timeout_s: float) -> Answer:
    body = f'{{"model":"{MODEL}","messages":[{{"role":"user","content":"{words}"}}]}}'
    return await pool.ask(pool.target.request("/api/chat", body.encode()), timeout_s)


@pytest.mark.parametrize("leaving", [False, True])
def test_a_slice_that_is_gone_costs_no_request(short_path: Path, leaving: bool) -> None:
    """Also while its hop is about to reload."""

    async def run() -> dict[str, int]:
        async with way_to(short_path, parallel=8, gone=1) as (way, target, _):
            if leaving:
                (way.folder / "run/ollama-hop/leaving").touch()
            return (await Load(target, MODEL, mix=SHORT).closed(4, 2)).outcomes

    assert set(asyncio.run(run())) == {"ok"}


async def reload_hop(way: Way) -> None:
    """As its unit does."""
    mark = way.folder / "run/ollama-hop/leaving"
    mark.touch()
    await asyncio.sleep(5)
    way.hop.send_signal(signal.SIGHUP)
    await asyncio.sleep(1)
    mark.unlink()


async def reload_balancer(way: Way) -> None:
    way.balancer.send_signal(signal.SIGUSR2)


async def reload_nginx(way: Way) -> None:
    way.nginx.send_signal(signal.SIGHUP)


@pytest.mark.parametrize(
    ("reload", "times"), [(reload_hop, 1), (reload_balancer, 5), (reload_nginx, 5)]
)
def test_reloads_lose_no_request(
    short_path: Path, reload: Callable[[Way], Awaitable[None]], times: int
) -> None:
    async def run() -> dict[str, int]:
        async with way_to(short_path, parallel=64) as (way, target, _):
            load = Load(target, MODEL, mix=SHORT)
            task = asyncio.create_task(load.closed(8, 60, think_s=0.02))
            for _ in range(times):
                await asyncio.sleep(0.5)
                await reload(way)
            await asyncio.sleep(1)
            load.stop.set()
            return (await task).outcomes

    started_s = time.monotonic()
    assert set(asyncio.run(run())) == {"ok"}
    assert time.monotonic() - started_s < 60


def shares(way: Way) -> dict[str, int]:
    """Each slice's share of the model's requests at this moment, as the balancer says; 0: it is down."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(str(way.folder / "run/ollama-gateway/admin.sock"))
        admin.sendall(b"show stat\n")
        text = b"".join(iter(lambda: admin.recv(65536), b"")).decode()
    rows = [line.split(",") for line in text.splitlines()]
    return {
        row[1].rpartition(".")[2]: 0 if row[17].startswith("DOWN") else int(row[18])
        for row in rows
        if row[0].startswith("model.") and row[1] != "BACKEND"
    }


def test_a_slice_that_comes_back_gets_its_share_little_by_little(short_path: Path) -> None:
    """A cold one has to load, and would be the one with the fewest requests."""

    async def run() -> tuple[list[int], int]:
        async with way_to(short_path, parallel=8) as (way, _, _slices):
            mark = way.folder / "run/ollama-health/s1.down"  # as the host's health watch says it
            mark.touch()
            await until(lambda: shares(way)["s1"] == 0)
            mark.unlink()
            await until(lambda: shares(way)["s1"] > 0)
            seen = []
            for _ in range(20):
                seen.append((await asyncio.to_thread(shares, way))["s1"])
                await asyncio.sleep(0.4)
            return seen, shares(way)["s0"]

    seen, full = asyncio.run(run())
    assert seen == sorted(seen), "it grows"
    assert seen[0] < full / 4 and full / 4 < seen[-1] < full, seen


async def until(what: Callable[[], bool], within_s: float = 20) -> None:
    started_s = time.monotonic()
    while not await asyncio.to_thread(what):
        assert time.monotonic() - started_s < within_s, "it never came so"
        await asyncio.sleep(0.1)
