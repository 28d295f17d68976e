"""Who holds how much memory on which GPU, and whether more fits.

It does not know sockets, files or faults: the driver tells it what a GPU can still give.
"""

from __future__ import annotations

from typing import Any

IDLE_MIB = 1  # what a driver keeps for itself on an idle GPU
Pools = dict[str, tuple[str, int]]
"""The pool that memory asked on a GPU or MIG device comes from, and what that pool can give."""


class OutOfMemoryError(Exception):
    """An allocation that does not fit; its text names the GPU and both figures."""


class Holding:
    """The memory of one process (one connection)."""

    def __init__(self, pid: int, name: str, mib: dict[str, int]) -> None:
        self.pid, self.name, self.mib = pid, name, mib


class Ledger:
    def __init__(self) -> None:
        self._holdings: dict[int, Holding] = {}

    def hold(self, key: int, holding: Holding, pools: Pools) -> None:
        """Replace what `key` holds, or refuse and leave everything as it was."""
        for uuid, wanted in holding.mib.items():
            pool, capacity_mib = pools[uuid]
            sharing = [name for name, (other, _) in pools.items() if other == pool]
            free = capacity_mib - sum(self.held_mib(name, except_key=key) for name in sharing)
            if wanted > free:
                raise OutOfMemoryError(f"{uuid} has {free} MiB free, {wanted} MiB asked")
        self._holdings[key] = holding

    def release(self, key: int) -> bool:
        """Whether there was anything."""
        return self._holdings.pop(key, None) is not None

    def lose(self, uuid: str) -> None:
        """A GPU that fell off the bus takes everybody's memory with it."""
        for holding in self._holdings.values():
            holding.mib.pop(uuid, None)

    def count(self) -> int:
        """How many processes hold memory."""
        return sum(any(holding.mib.values()) for holding in self._holdings.values())

    def processes(self) -> list[dict[str, Any]]:
        return [
            {"pid": holding.pid, "name": holding.name, "gpu_uuid": uuid, "used_mib": mib}
            for holding in self._holdings.values()
            for uuid, mib in holding.mib.items()
            if mib > 0
        ]

    def held_mib(self, uuid: str, except_key: int | None = None) -> int:
        held = [entry for key, entry in self._holdings.items() if key != except_key]
        return sum(holding.mib.get(uuid, 0) for holding in held)
