"""Requests about modules and about the daemons that keep a driver loaded, and what every request
has in common: a client, an answer, a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import events
from .fabric import Fabric
from .kernel import Kernel, KernelError, canonical

if TYPE_CHECKING:
    from .driver import Driver

Answer = dict[str, Any]
MODULE_OF_GROUP = {
    "gpus": "nvidia",
    "control": "nvidia",
    "capabilities": "nvidia",
    "uvm": "nvidia-uvm",
    "modeset": "nvidia-modeset",
}
NOT_PERMITTED = "Operation not permitted"


class RefusedError(Exception):
    """A request that the driver declines; its text goes to the client as `error`."""


class Client:
    """The process at the other end of a connection, as the kernel names it."""

    def __init__(self, key: int, pid: int, uid: int) -> None:
        self.key, self.pid, self.uid = key, pid, uid


class ModuleRequests:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.kernel = Kernel()
        self.fabric = Fabric()
        self._holders: dict[int, str] = {}  # connections of daemons that keep the nodes open
        self.ops: dict[str, Callable[[Client, Answer], Answer]] = {
            "load": self._load,
            "unload": self._unload,
            "hold-open": self._hold_open,
            "fabric": self._join_fabric,
        }

    def insert(self, name: str) -> None:
        """Raises RefusedError with modprobe's words."""
        was_loaded = self._driver.machine.loaded
        try:
            found = self._driver.machine
            self.kernel.load(name, found.hardware, found.faults)
        except KernelError as error:
            raise RefusedError(str(error)) from error
        self._driver.refresh()
        if not was_loaded:
            events.driver_loaded(self._driver.machine)

    def count_users(self, with_memory: int) -> bool:
        """Whether that changed anything."""
        before = (self.kernel.users, self.kernel.memory_users)
        self.kernel.memory_users = with_memory
        self.kernel.users = with_memory + len(self._holders) + self.fabric.managers
        return before != (self.kernel.users, self.kernel.memory_users)

    def references(self) -> dict[str, int]:
        return {name: self.kernel.references(name) for name in self.kernel.modules}

    def forget(self, key: int) -> str | None:
        """The daemon that has hung up, if it was one."""
        self.fabric.leave(key)
        return self._holders.pop(key, None)

    def _load(self, client: Client, request: Answer) -> Answer:
        if client.uid != 0:
            raise RefusedError(f"ERROR: could not insert '{request['name']}': {NOT_PERMITTED}")
        self.insert(request["name"])
        return {"ok": True}

    def _unload(self, client: Client, request: Answer) -> Answer:
        if client.uid != 0:
            raise RefusedError(f"ERROR: could not remove '{request['name']}': {NOT_PERMITTED}")
        try:
            self.kernel.unload(request["name"])
        except KernelError as error:
            raise RefusedError(str(error)) from error
        if canonical(request["name"]) == "nvidia":
            self._driver.forget_driver_state()
        self._driver.refresh()
        return {"ok": True}

    def _hold_open(self, client: Client, request: Answer) -> Answer:
        """A daemon that keeps the device nodes open until it hangs up."""
        if not self._driver.machine.loaded:
            raise RefusedError("the NVIDIA driver is not loaded")
        self._holders[client.key] = str(request["name"])
        if request.get("persistence"):
            self._driver.persist()
        self._driver.users_changed()
        return {"ok": True}

    def _join_fabric(self, client: Client, request: Answer) -> Answer:
        reason = self.fabric.join(client.key, str(request["built_for"]), self._driver.machine)
        if reason:
            raise RefusedError(reason)
        self._driver.users_changed()
        return {"ok": True}
