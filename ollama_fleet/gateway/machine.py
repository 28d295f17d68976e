"""What of a machine decides the gateway's configuration there."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """`modules_dir` holds nginx's dynamic modules; `has_ipv6`: the kernel has IPv6."""

    modules_dir: str = "/usr/lib/nginx/modules"
    has_ipv6: bool = True
