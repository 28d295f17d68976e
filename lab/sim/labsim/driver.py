"""The simulated kernel driver: its state, what each request answers, how faults show.

It dies with its process, as a driver does at reboot. Sockets are `server`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import machine, nodes, trees
from .ledger import IDLE_MIB, Holding, Ledger, OutOfMemoryError

Answer = dict[str, Any]
SHOWN_BY_DEVICES = (
    *("index", "minor", "uuid", "name", "pci_bus_id", "compute_cap", "bandwidth_gb_s"),
    *("memory_total_mib", "memory_used_mib", "memory_free_mib", "state"),
)


class RefusedError(Exception):
    """A request that the driver declines; its text goes to the client as `error`."""


class Client:
    """The process at the other end of a connection, as the kernel names it."""

    def __init__(self, key: int, pid: int, uid: int) -> None:
        self.key, self.pid, self.uid = key, pid, uid


class Driver:
    def __init__(self) -> None:
        self._ledger = Ledger()
        self._persistent: set[str] = set()
        self._nodes: nodes.Nodes = {}
        self._signature: machine.Signature = ()
        self._machine = machine.Machine({}, {})
        self._ops: dict[str, Callable[[Client, Answer], Answer]] = {
            "devices": self._devices,
            "snapshot": self._snapshot,
            "processes": self._processes,
            "allocate": self._allocate,
            "make-nodes": self._make_nodes,
            "persistence": self._persistence,
        }

    def refresh(self) -> None:
        """Take over hardware and faults if a file changed; nodes and trees follow."""
        found = machine.signature()
        if found == self._signature:
            return
        fresh = machine.read()
        if not fresh.hardware:  # being rewritten: keep what was there, look again next time
            return
        self._signature, self._machine = found, fresh
        trees.write_loaded(fresh)
        self._move_nodes(nodes.all_nodes(fresh))
        for gpu in filter(fresh.is_lost, fresh.gpus):
            self._ledger.lose(gpu["uuid"])

    def unload(self) -> None:
        nodes.remove(set(self._nodes))
        trees.write_unloaded(self._machine)

    def forget(self, key: int) -> None:
        self._ledger.release(key)

    def answer(self, client: Client, request: Answer) -> Answer:
        self.refresh()
        handle = self._ops.get(str(request.get("op")))
        if handle is None:
            return {"error": f"unknown op: {request.get('op')} (known: {', '.join(self._ops)})"}
        try:
            return handle(client, request)
        except RefusedError as refusal:
            return {"error": str(refusal)}
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            return {"error": f"bad request: {fault!r}"}

    def _move_nodes(self, wanted: nodes.Nodes) -> None:
        """Only what changed: a node that somebody removed stays away, as on a real host."""
        nodes.remove(set(self._nodes) - set(wanted))
        nodes.make({name: minor for name, minor in wanted.items() if name not in self._nodes})
        self._nodes = wanted

    def _gpu(self, gpu: dict[str, Any]) -> Answer:
        used, reserved = self._ledger.used_mib(gpu["uuid"]), reserved_mib(gpu)
        lost = self._machine.is_lost(gpu)
        return {
            **gpu,
            "memory_reserved_mib": reserved,
            "memory_used_mib": 0 if lost else used,
            "memory_free_mib": 0 if lost else gpu["memory_total_mib"] - reserved - used,
            "state": "lost" if lost else "ok",
            "persistence": gpu["uuid"] in self._persistent,
            "ecc_broken": gpu["index"] in self._machine.broken("ecc"),
        }

    def _driver(self) -> Answer:
        found = self._machine
        return {
            "loaded": True,
            "version": found.loaded_version,
            "library_version": found.library_version,
            "uvm": found.uvm_loaded,
            "mismatch": found.mismatch,
        }

    def _devices(self, _client: Client, _request: Answer) -> Answer:
        gpus = [
            {key: gpu.get(key) for key in SHOWN_BY_DEVICES}
            for gpu in map(self._gpu, self._machine.gpus)
        ]
        return {"driver": self._driver(), "gpus": gpus, "faults": self._machine.faults}

    def _snapshot(self, _client: Client, _request: Answer) -> Answer:
        """Everything that nvidia-smi shows, in one answer."""
        hardware = self._machine.hardware
        return {
            "driver": self._driver(),
            "gpus": [self._gpu(gpu) for gpu in self._machine.gpus],
            "processes": self._ledger.processes(),
            "nvswitch": hardware.get("nvswitch") or 0,
            "cpus": hardware.get("cpus") or 1,
        }

    def _processes(self, _client: Client, _request: Answer) -> Answer:
        return {"processes": self._ledger.processes()}

    def _allocate(self, client: Client, request: Answer) -> Answer:
        mib = {uuid: int(amount) for uuid, amount in request["mib"].items()}
        self._refuse_allocation(set(mib))
        capacity = {
            gpu["uuid"]: gpu["memory_total_mib"] - reserved_mib(gpu) - IDLE_MIB
            for gpu in self._machine.gpus
        }
        holding = Holding(client.pid, str(request["name"]), mib)
        try:
            self._ledger.hold(client.key, holding, capacity)
        except OutOfMemoryError as full:
            raise RefusedError(f"out of memory: {full}") from full
        return {"ok": True}

    def _refuse_allocation(self, uuids: set[str]) -> None:
        """Freeing (an empty set) is always granted."""
        known = {gpu["uuid"]: gpu for gpu in self._machine.gpus}
        if uuids and self._machine.mismatch:
            raise RefusedError("driver/library version mismatch")
        if uuids and not self._machine.uvm_loaded:
            raise RefusedError("unknown error: the nvidia-uvm module is not loaded")
        for uuid in uuids:
            if uuid not in known:
                raise RefusedError(f"no such device: {uuid}")
            if self._machine.is_lost(known[uuid]):
                raise RefusedError(f"GPU is lost: {uuid}")

    def _make_nodes(self, _client: Client, request: Answer) -> Answer:
        """`which` names groups: gpus, control, uvm, modeset; made again where removed."""
        groups = {
            "gpus": nodes.gpu_nodes(self._machine),
            "control": nodes.CONTROL,
            "uvm": nodes.UVM,
            "modeset": nodes.MODESET,
        }
        if "uvm" in request["which"] and not self._machine.uvm_loaded:
            raise RefusedError("Module nvidia-uvm not found")
        for group in request["which"]:
            nodes.make(groups[group])
        return {"ok": True}

    def _persistence(self, client: Client, request: Answer) -> Answer:
        if client.uid != 0:
            raise RefusedError("Insufficient Permissions")
        change = (
            self._persistent.update if request["enabled"] else self._persistent.difference_update
        )
        change(request["gpus"])
        return {"ok": True}


def reserved_mib(gpu: dict[str, Any]) -> int:
    """Since R510 nvidia-smi tells apart what the driver and firmware reserve: about 1 %."""
    default = 100 + gpu["memory_total_mib"] * 8 // 1000
    return int(gpu.get("memory_reserved_mib", default))
