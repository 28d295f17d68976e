"""What root may change on the cards: MIG mode, instances, limits, modes, and resetting them.

It answers the driver's requests of that kind. Nothing here outlives the module, except what
`GpuState` writes to a card's InfoROM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .gpu_state import COMPUTE_MODES, GpuState
from .ledger import IDLE_MIB, Ledger, Pools
from .machine import Machine
from .partition import IDLE_MIB as INSTANCE_IDLE_MIB
from .partition import IN_USE, INVALID, MigError, Partition, ci_profile

Answer = dict[str, Any]
NO_PERMISSION = "Insufficient Permissions"
NOT_SUPPORTED = "Not Supported"


class Control:
    def __init__(self, ledger: Ledger, was_reset: Callable[[int], None]) -> None:
        self._ledger, self._was_reset = ledger, was_reset
        self._machine = Machine({}, {})
        self.states: dict[str, GpuState] = {}

    def attach(self, machine: Machine) -> None:
        """Follow the loaded driver: a card that it gives up forgets everything."""
        self._machine = machine
        served = {gpu["uuid"]: gpu for gpu in machine.gpus}
        self.states = {uuid: self.states.get(uuid) or GpuState(gpu) for uuid, gpu in served.items()}

    def ops(self) -> dict[str, Callable[[Any, Answer], Answer]]:
        changes = {
            "mig-mode": self._mig_mode,
            "mig-create-gi": self._create_gi,
            "mig-create-ci": self._create_ci,
            "mig-destroy-gi": self._destroy_gi,
            "mig-destroy-ci": self._destroy_ci,
            "gpu-reset": self._reset,
            "setting": self._setting,
        }
        return {name: _for_root(change) for name, change in changes.items()}

    # What others ask about the cards

    def targets(self) -> dict[str, dict[str, Any]]:
        """The card behind each name that memory may be asked on: a GPU or a MIG device."""
        return {token: state.gpu for state in self.states.values() for token in state.tokens}

    def pools(self, reserved_mib: Callable[[dict[str, Any]], int]) -> Pools:
        """Of which pool each name's memory comes: compute instances share their GPU instance's."""
        pools: Pools = {}
        for state in self.states.values():
            gpu = state.gpu
            whole_mib = gpu["memory_total_mib"] - reserved_mib(gpu) - IDLE_MIB
            if not state.mig:
                pools[state.uuid] = (state.uuid, whole_mib)
            for device in state.devices:
                name = f"{state.uuid}/{device['gi']}"
                pools[device["uuid"]] = (name, device["memory_total_mib"] - INSTANCE_IDLE_MIB)
        return pools

    def used_mib(self, uuid: str) -> int:
        state = self.states[uuid]
        instances = len(state.partition.instances) if state.partition and state.mig else 0
        held = sum(map(self._ledger.held_mib, state.tokens))
        return IDLE_MIB + instances * INSTANCE_IDLE_MIB + held

    def refusal(self, token: str, pid: int) -> str | None:
        """Why the compute mode keeps this process away."""
        mode = self._state_of(token).compute_mode
        others = [entry for entry in self._ledger.processes() if entry["gpu_uuid"] == token]
        if mode == "Prohibited":
            return f"compute mode prohibited: {token}"
        if mode == "Exclusive_Process" and any(entry["pid"] != pid for entry in others):
            return f"exclusive process mode, in use by another process: {token}"
        return None

    def view(self, uuid: str) -> dict[str, Any]:
        """What nvidia-smi may show of the settings of one card."""
        state = self.states[uuid]
        devices = self._with_memory(state.devices)
        mig = state.partition and {
            "current": state.mig,
            "pending": state.mig_pending,
            "devices": devices,
            **state.partition.shown(),
        }
        found = {"mig": mig, "mig_devices": devices if state.mig else None}
        return {**found, **state.shown_settings()}

    def processes(self) -> list[dict[str, Any]]:
        """The ledger's, each with its card and, inside MIG, its instance."""
        places: dict[str, dict[str, Any]] = {}
        for state in self.states.values():
            for device in state.devices:
                place = {"gpu_uuid": state.uuid, "mig_uuid": device["uuid"]}
                places[device["uuid"]] = {**place, "gi": device["gi"], "ci": device["ci"]}
        found = self._ledger.processes()
        return [{**entry, **places.get(entry["gpu_uuid"], {})} for entry in found]

    def _with_memory(self, devices: list[dict[str, Any]]) -> list[dict[str, Any]]:
        used = {device["gi"]: INSTANCE_IDLE_MIB for device in devices}
        for device in devices:
            used[device["gi"]] += self._ledger.held_mib(device["uuid"])
        return [
            {
                **device,
                "memory_used_mib": used[device["gi"]],
                "memory_free_mib": device["memory_total_mib"] - used[device["gi"]],
            }
            for device in devices
        ]

    def _state_of(self, token: str) -> GpuState:
        return next(state for state in self.states.values() if token in state.tokens)

    # What root changes

    def _mig_mode(self, request: Answer) -> Answer:
        """`outcome`: done, or pending where the card cannot be reset now."""
        state, enabled = self.states[request["gpu"]], bool(request["enabled"])
        if state.partition is None:
            raise MigError(NOT_SUPPORTED)
        if not enabled and state.mig and state.partition.instances and not state.keeps_mig:
            raise MigError(IN_USE)
        blocked = state.mig != enabled and self._is_blocked(state, resets=state.keeps_mig)
        if blocked and not state.keeps_mig:
            raise MigError(IN_USE)
        state.set_mig(enabled)
        if blocked:
            reason = NOT_SUPPORTED if self._reset_refused() else IN_USE
            return {"outcome": "pending", "reason": reason}
        if state.mig != enabled:
            self._put_mode_in_force(state)
        return {"outcome": "done"}

    def _put_mode_in_force(self, state: GpuState) -> None:
        if state.keeps_mig:
            state.reset()
        state.mig = state.mig_pending
        if state.mig:
            state.compute_mode = "Default"

    def _is_blocked(self, state: GpuState, resets: bool) -> bool:
        """By a process, by instances and, where the card must be reset, by what prevents that."""
        has_instances = bool(state.mig and state.partition and state.partition.instances)
        prevented = resets and (self._drm_holds() or self._reset_refused())
        return self._has_clients(state.tokens) or has_instances or prevented

    def _reset_refused(self) -> bool:
        """As by the hypervisor of a virtual machine with a passed-through card."""
        return "gpu-reset-refused" in self._machine.faults

    def _drm_holds(self) -> bool:
        """`drm_blocks_reset: false` in hardware.json is a host without that trouble."""
        blocks = self._machine.hardware.get("drm_blocks_reset", True)
        return bool(blocks) and "nvidia_drm" in self._machine.modules

    def _has_clients(self, tokens: list[str]) -> bool:
        return any(map(self._ledger.held_mib, tokens))

    def _partition(self, request: Answer) -> Partition:
        state = self.states[request["gpu"]]
        if state.partition is None or not state.mig:
            raise MigError(NOT_SUPPORTED)
        return state.partition

    def _create_gi(self, request: Answer) -> Answer:
        made = self._partition(request).create(str(request["profile"]))
        return {"id": made.id, "name": made.profile.name, "profile_id": made.profile.id}

    def _create_ci(self, request: Answer) -> Answer:
        partition, gi = self._partition(request), int(request["gi"])
        made = partition.create_compute(gi, request.get("profile"))
        name = partition.instances[gi].ci_name(made.size)
        return {"id": made.id, "name": name, "profile_id": ci_profile(made.size)}

    def _destroy_gi(self, request: Answer) -> Answer:
        self._partition(request).destroy(int(request["gi"]))
        return {}

    def _destroy_ci(self, request: Answer) -> Answer:
        partition, gi, ci = self._partition(request), int(request["gi"]), int(request["ci"])
        if self._has_clients([partition.uuid(gi, ci)]):
            raise MigError(IN_USE)
        partition.destroy_compute(gi, ci)
        return {}

    def _reset(self, request: Answer) -> Answer:
        state = self.states[request["gpu"]]
        if self._reset_refused():
            raise MigError(NOT_SUPPORTED)
        if self._has_clients(state.tokens) or self._drm_holds():
            raise MigError(IN_USE)
        state.reset()
        self._was_reset(state.gpu["index"])
        return {}

    def _setting(self, request: Answer) -> Answer:
        """One of `GpuState`'s settings; None takes a clock's lock away."""
        state, name, value = self.states[request["gpu"]], request["name"], request["value"]
        before = {"before": state.shown_settings().get(name)}
        if name == "ecc":
            if not state.has_ecc:
                raise MigError(NOT_SUPPORTED)
            state.set_ecc(bool(value))
        elif name == "power_limit_w":
            if not state.power_min_w <= float(value) <= state.power_default_w:
                raise MigError(INVALID)
            state.power_limit_w = float(value)
        elif name == "compute_mode":
            self._set_compute_mode(state, str(value))
        elif name in ("graphics_clock_mhz", "memory_clock_mhz"):
            setattr(state, name, value)
        else:
            raise MigError(INVALID)
        return before

    def _set_compute_mode(self, state: GpuState, mode: str) -> None:
        if mode not in COMPUTE_MODES:
            raise MigError(INVALID)
        if state.mig and mode == "Exclusive_Process":
            raise MigError(NOT_SUPPORTED)
        state.compute_mode = mode


def _for_root(change: Callable[[Answer], Answer]) -> Callable[[Any, Answer], Answer]:
    """The change for root only, and NVML's word as `error` where it fails."""

    def answer(client: Any, request: Answer) -> Answer:
        if client.uid != 0:
            return {"error": NO_PERMISSION}
        try:
            return {"ok": True, **change(request)}
        except MigError as refusal:
            return {"error": str(refusal)}

    return answer
