"""Frames of all machines become the fleet as it is now. Pure: times are given, nothing is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.top.alarms import alarms
from ollama_fleet.top.frame import Frame
from ollama_fleet.top.gpu_rows import GpuRow
from ollama_fleet.top.model import Alarm, FleetNow, GpuNow, MachineNow, SystemNow
from ollama_fleet.top.pace import Pace
from ollama_fleet.top.pools import pools_now
from ollama_fleet.top.seats import Board, board_of, planned_mib
from ollama_fleet.top.slices import slice_now
from ollama_fleet.top.traffic import Traffic


@dataclass
class Watched:
    """One machine while it is looked at: what it is to be, its last frames, or why there are none.

    `at` is of a steady clock. `lasting` is the last full frame.
    """

    name: str
    roles: tuple[str, ...]
    plan: HostPlan | None
    gateway: GatewayPlan | None
    pace: Pace
    error: str = ""
    at: float | None = None
    frame: Frame | None = None
    before: Frame | None = None
    lasting: Frame | None = None
    first_restarts: dict[str, int] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)

    def take(self, frame: Frame, at: float) -> None:
        """A frame that came at `at`."""
        self.before, self.frame, self.at, self.error = self.frame, frame, at, ""
        self.lasting = frame if frame.full else self.lasting
        self.pace.take(frame)
        if self.gateway and frame.now is not None:
            self.traffic.add(frame.log, frame.now, frame.log_skipped)
        for name, count in _restarts(frame).items():
            # Who starts a unit by hand sets its count back.
            self.first_restarts[name] = min(count, self.first_restarts.get(name, count))

    def lose(self, why: str) -> None:
        """It cannot be asked."""
        self.error = why


def fleet_now(inventory: str, at: str, machines: Sequence[Watched], now: float) -> FleetNow:
    """All of them together; `now` of the same clock as the frames' times."""
    gateways = [one for one in machines if one.gateway and one.frame and not one.error]
    return FleetNow(inventory, at, tuple(_machine(one, gateways, now) for one in machines))


def _machine(one: Watched, gateways: Sequence[Watched], now: float) -> MachineNow:
    bare = MachineNow(one.name, one.roles, one.error)
    frame = one.frame
    if frame is None or one.error:
        return replace(bare, alarms=alarms(bare, {}, None, {}) if one.error else ())
    lasting = one.lasting or frame
    board = board_of(lasting.pci or (), frame.gpus)
    found = replace(
        bare,
        age_s=None if one.at is None else max(0.0, now - one.at),
        system=_system(frame, one.before, lasting),
        gpus=tuple(_gpus(one.plan, board)),
        slices=tuple(
            slice_now(one.plan, item, frame, board, [gateway.traffic for gateway in gateways])
            for item in (one.plan.slices if one.plan else ())
        ),
        pools=tuple(pools_now(one.gateway, frame.balancer, one.traffic)) if one.gateway else (),
        cost=one.pace.cost,
    )
    return replace(found, alarms=_alarms(one, found, frame, lasting))


def _alarms(one: Watched, found: MachineNow, frame: Frame, lasting: Frame) -> tuple[Alarm, ...]:
    expected = one.plan.expected_gpus if one.plan else None
    return alarms(
        found,
        lasting.xids or {},
        None if expected is None else sum(count for _, count in expected),
        {
            name.removeprefix("ollama-").removesuffix(".service"): count - one.first_restarts[name]
            for name, count in _restarts(frame).items()
        },
        frame.smi_message if frame.smi_code else "",
    )


def _restarts(frame: Frame) -> Mapping[str, int]:
    return {
        name: int(of["NRestarts"][:9])
        for name, of in frame.units.items()
        if of.get("NRestarts", "").isdecimal()
    }


def _system(frame: Frame, before: Frame | None, lasting: Frame) -> SystemNow:
    return SystemNow(
        cpus=frame.cpus,
        cpu_percent=_cpu(frame, before),
        load=frame.load,
        memory_mib=frame.memory_mib,
        available_mib=frame.available_mib,
        disks=lasting.disks or (),
    )


def _cpu(frame: Frame, before: Frame | None) -> float | None:
    """Percent of all CPUs between two frames."""
    if before is None or None in (before.cpu_busy, before.cpu_idle, frame.cpu_busy, frame.cpu_idle):
        return None
    busy = (frame.cpu_busy or 0) - (before.cpu_busy or 0)
    idle = (frame.cpu_idle or 0) - (before.cpu_idle or 0)
    return 100 * busy / (busy + idle) if busy >= 0 and idle >= 0 and busy + idle else None


def _gpus(plan: HostPlan | None, board: Board) -> list[GpuNow]:
    planned = planned_mib(plan, board) if plan else {}
    seats = zip(board.addresses, board.rows, strict=True)
    return [
        _gpu(place, row, planned.get(place))
        if row
        else _missing(place, address, planned.get(place))
        for place, (address, row) in enumerate(seats)
    ]


def _missing(place: int, address: str, planned: int | None) -> GpuNow:
    """On the bus, and not in nvidia-smi."""
    return GpuNow(place, None, address, "", None, None, planned, None, None, None, None, lost=True)


def _gpu(place: int, row: GpuRow, planned: int | None) -> GpuNow:
    return GpuNow(
        position=place,
        index=row.index,
        address=row.address,
        name=row.name,
        memory_mib=row.memory_mib,
        used_mib=row.used_mib,
        planned_mib=planned,
        utilization_percent=row.utilization,
        temperature_c=row.temperature_c,
        power_w=row.power_w,
        power_limit_w=row.power_limit_w,
        slowed=row.slowed,
        warm=", ".join(row.warm),
        ecc_uncorrected=row.ecc_uncorrected,
        lost=row.lost,
        cut=row.cut,
    )
