"""The balancer's configuration: a queue per model, and the slices behind it."""

import hashlib
from dataclasses import asdict, dataclass

from ollama_fleet.gateway import places
from ollama_fleet.planner.gateway import GatewayPlan, Upstream
from ollama_fleet.templating import MARKER, HostFile, render

# Each slice is asked once a second; in large fleets less often, so that hosts and gateway have time.
SLICES_PER_S = 200


@dataclass(frozen=True)
class Server:
    """A slice as the balancer writes it; `to` is its address with all that TLS needs."""

    name: str
    to: str
    parallel: int = 0
    weight: int = 0


def balancer_file(plan: GatewayPlan) -> HostFile:
    """The one file of the balancer. The same plan gives the same bytes."""
    return HostFile(places.BALANCER_CONF, _configuration(plan, balancer_digest(plan)))


def balancer_digest(plan: GatewayPlan) -> str:
    """What a balancer that has this configuration in force calls itself."""
    return hashlib.sha256(_configuration(plan, "").encode()).hexdigest()


def _configuration(plan: GatewayPlan, digest: str) -> str:
    where = {upstream.name: _address(plan, upstream) for upstream in plan.upstreams}
    pools = [
        {
            "name": pool.name,
            "model": pool.model,
            "servers": [
                Server(one.upstream, where[one.upstream], one.parallel, one.weight)
                for one in pool.members
            ],
        }
        for pool in plan.pools
    ]
    return render(
        "gateway/balancer.cfg.j2",
        marker=MARKER,
        digest=digest,
        admin=places.ADMIN_SOCKET,
        state=f"{places.RUN_DIR}/servers.state",
        socket=places.POOLS_SOCKET,
        health_path=places.HEALTH_PATH,
        inter_ms=1000 * max(1, len(plan.upstreams) // SLICES_PER_S),
        upstreams=[
            asdict(Server(one.name, where[one.name], one.parallel)) for one in plan.upstreams
        ],
        pools=pools,
        wait_s=plan.wait_s,
        read_timeout_s=plan.read_timeout_s,
        slow_start_s=plan.slow_start_s,
        metrics_port=plan.metrics_port,
    )


def _address(plan: GatewayPlan, upstream: Upstream) -> str:
    """Over TLS with certificates at both ends, but for slices of the gateway's own machine."""
    if plan.is_here(upstream):
        return f"unix@{places.HOP_SOCKET}"
    host = f"[{upstream.address}]" if ":" in upstream.address else upstream.address
    tls = f"ca-file {places.GATEWAY_TLS}/hop-ca.pem crt {places.GATEWAY_TLS}/hop.pem"
    return f"{host}:{plan.hop_port} ssl verify required verifyhost {upstream.host} {tls}"
