"""The simulated hardware and kernel: their state, what each request answers, how faults show.

It dies with its process, as a driver does at reboot. Sockets are `server`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import capabilities, events, fabric, machine, nodes, repairs, requests, trees
from .control import Control
from .ledger import Holding, Ledger, OutOfMemoryError
from .requests import Answer, Client, RefusedError

SHOWN_BY_DEVICES = (
    *("index", "minor", "uuid", "name", "pci_bus_id", "compute_cap", "bandwidth_gb_s"),
    *("memory_total_mib", "memory_used_mib", "memory_free_mib", "state"),
    "mig_devices",
)


class Driver:
    def __init__(self) -> None:
        self._ledger = Ledger()
        self._modules = requests.ModuleRequests(self)
        self._control = Control(self._ledger, lambda gpu: self._repaired("reset", gpu))
        self._capabilities = capabilities.CapabilityNodes()
        self._repairs = repairs.Repairs()
        self._persistent: set[str] = set()
        self._nodes: nodes.Nodes = {}
        self._signature: machine.Signature = ()
        self.machine = machine.Machine({}, {})
        self._ops: dict[str, Callable[[Client, Answer], Answer]] = {
            "devices": self._devices,
            "snapshot": self._snapshot,
            "processes": self._processes,
            "allocate": self._allocate,
            "make-nodes": self._make_nodes,
            "persistence": self._persistence,
            **self._modules.ops,
            **{name: self._then_shown(change) for name, change in self._control.ops().items()},
        }

    def boot(self) -> None:
        found = machine.read()
        self._modules.kernel.boot(found.hardware, found.faults)
        self.refresh()
        events.driver_loaded(self.machine)

    def refresh(self) -> None:
        """Take over hardware, faults and modules if they changed; nodes and trees follow."""
        found = (*machine.signature(), *((name, 0, 0) for name in self._modules.kernel.modules))
        if found == self._signature:
            return
        fresh = machine.read(self._modules.kernel.modules)
        fresh.faults = self._repairs.left(fresh.faults)
        if not fresh.hardware:  # being rewritten: keep what was there, look again next time
            return
        events.new_faults(self.machine, fresh)
        self._signature, self.machine = found, fresh
        self._modules.count_users(self._ledger.count())
        self._control.attach(fresh)
        self._show()
        for gpu in filter(fresh.is_lost, fresh.gpus):
            for token in self._control.states[gpu["uuid"]].tokens:
                self._ledger.lose(token)

    def _show(self) -> None:
        """Trees and nodes as machine, modules and MIG instances are now."""
        found, states = self.machine, self._control.states.values()
        trees.write(found, self._modules.references(), capabilities.tree(states))
        self._move_nodes({**nodes.all_nodes(found), **self._capabilities.nodes(states)})

    def _then_shown(
        self, change: Callable[[Client, Answer], Answer]
    ) -> Callable[[Client, Answer], Answer]:
        def answer(client: Client, request: Answer) -> Answer:
            found = change(client, request)
            self._show()
            return found

        return answer

    def shut_down(self) -> None:
        nodes.remove(set(self._nodes))
        trees.write_unloaded(self.machine)

    def forget(self, key: int) -> None:
        if self._ledger.release(key):
            self._repaired("unload")
        if self._modules.forget(key) == "nvidia-persistenced":
            self._persistent.clear()
        self.users_changed()

    def users_changed(self) -> None:
        """Whoever holds the device nodes open shows in the modules' counts."""
        if self._modules.count_users(self._ledger.count()):
            trees.write_modules(self.machine, self._modules.references())

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
        used, reserved = self._control.used_mib(gpu["uuid"]), reserved_mib(gpu)
        lost = self.machine.is_lost(gpu)
        return {
            **gpu,
            **self._control.view(gpu["uuid"]),
            "memory_reserved_mib": reserved,
            "memory_used_mib": 0 if lost else used,
            "memory_free_mib": 0 if lost else max(0, gpu["memory_total_mib"] - reserved - used),
            "state": "lost" if lost else "ok",
            "persistence": gpu["uuid"] in self._persistent,
            "ecc_broken": gpu["index"] in self.machine.broken("ecc"),
            "throttled": gpu["index"] in self.machine.broken("gpu-throttled"),
            "pcie_narrow": gpu["index"] in self.machine.broken("pcie-narrow"),
            "row_remap_pending": gpu["index"] in self.machine.broken("row-remap-pending"),
        }

    def _driver(self) -> Answer:
        found = self.machine
        return {
            "loaded": found.loaded,
            "version": found.loaded_version,
            "flavour": found.flavour if found.loaded else None,
            "library_version": found.library_version,
            "uvm": found.uvm_loaded,
            "mismatch": found.mismatch,
            "fabric": self._modules.fabric.state(found),
        }

    def _devices(self, client: Client, _request: Answer) -> Answer:
        faults = repairs.of_process(self.machine.faults, client.pid)
        hidden = {"state": "lost"} if repairs.ON_CPU in faults else {}
        gpus = [
            {key: gpu.get(key) for key in SHOWN_BY_DEVICES} | hidden
            for gpu in map(self._gpu, self.machine.gpus)
        ]
        return {"driver": self._driver(), "gpus": gpus, "faults": faults}

    def _repaired(self, by: str, gpu: int | None = None) -> None:
        if self._repairs.end(self.machine.faults, by, gpu):
            self._signature = ()

    def _snapshot(self, _client: Client, _request: Answer) -> Answer:
        """Everything that nvidia-smi shows, in one answer."""
        hardware = self.machine.hardware
        return {
            "driver": self._driver(),
            "gpus": [self._gpu(gpu) for gpu in self.machine.gpus],
            "processes": self._control.processes(),
            "nvswitch": hardware.get("nvswitch") or 0,
            "cpus": hardware.get("cpus") or 1,
        }

    def _processes(self, _client: Client, _request: Answer) -> Answer:
        return {"processes": self._control.processes()}

    def _allocate(self, client: Client, request: Answer) -> Answer:
        mib = {uuid: int(amount) for uuid, amount in request["mib"].items()}
        self._refuse_allocation(set(mib), client.pid)
        holding = Holding(client.pid, str(request["name"]), mib)
        try:
            self._ledger.hold(client.key, holding, self._control.pools(reserved_mib))
        except OutOfMemoryError as full:
            raise RefusedError(f"out of memory: {full}") from full
        self.users_changed()
        return {"ok": True}

    def _refuse_allocation(self, uuids: set[str], pid: int) -> None:
        """Freeing (an empty set) is always granted."""
        known = self._control.targets()
        if uuids and not self.machine.loaded:
            raise RefusedError("no driver is loaded")
        if uuids and self.machine.mismatch:
            raise RefusedError("driver/library version mismatch")
        if uuids and not self.machine.uvm_loaded:
            raise RefusedError("unknown error: the nvidia-uvm module is not loaded")
        if uuids and self._modules.fabric.state(self.machine) == fabric.IN_PROGRESS:
            raise RefusedError("error 802: system not yet initialized")
        for uuid in uuids:
            if uuid not in known:
                raise RefusedError(f"no such device: {uuid}")
            if self.machine.is_lost(known[uuid]):
                raise RefusedError(f"GPU is lost: {uuid}")
            if reason := self._control.refusal(uuid, pid):
                raise RefusedError(reason)

    def _make_nodes(self, _client: Client, request: Answer) -> Answer:
        """`which` names groups: gpus, control, uvm, modeset; made again where removed.

        As nvidia-modprobe, which is setuid root, it loads the modules that the nodes belong to.
        """
        groups = {
            "gpus": nodes.gpu_nodes(self.machine),
            "control": nodes.CONTROL,
            "uvm": nodes.UVM,
            "modeset": nodes.MODESET,
            "capabilities": self._capabilities.nodes(self._control.states.values()),
        }
        for group in request["which"]:
            self._modules.insert(requests.MODULE_OF_GROUP[group])
        groups["gpus"] = nodes.gpu_nodes(self.machine)
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

    def persist(self) -> None:
        self._persistent.update(gpu["uuid"] for gpu in self.machine.gpus)

    def forget_driver_state(self) -> None:
        """What lives only while the module is loaded."""
        self._persistent.clear()


def reserved_mib(gpu: dict[str, Any]) -> int:
    """Since R510 nvidia-smi tells apart what the driver and firmware reserve: about 1 %."""
    default = 100 + gpu["memory_total_mib"] * 8 // 1000
    return int(gpu.get("memory_reserved_mib", default))
