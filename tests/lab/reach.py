"""What one machine of the lab can reach on another: every TCP port tried, from the outside.

`open_ports` is what a stranger gets; `listening` what is there to be reached. Both are asked of the
machines themselves, by nothing but Python's standard library and /proc.
"""

from lab.lab import Lab

EVERY_PORT = range(1, 65536)
# Run on the machine that looks. A firewall that drops makes each port wait, so thousands wait at once; what
# is known to listen is tried once more with patience, so that a slow machine hides nothing.
_SCAN = """
import asyncio, resource, sys
address, patience = sys.argv[1], [int(port) for port in sys.argv[2:]]
AT_ONCE = 3000
resource.setrlimit(resource.RLIMIT_NOFILE, (AT_ONCE + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

async def is_open(port, gate, timeout):
    async with gate:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), timeout)
        except (OSError, asyncio.TimeoutError):
            return False
        writer.close()
        return True

async def main():
    gate = asyncio.Semaphore(AT_ONCE)
    ports = range(1, 65536)
    found = await asyncio.gather(*(is_open(port, gate, 1.0) for port in ports))
    again = await asyncio.gather(*(is_open(port, gate, 5.0) for port in patience))
    tried = [*zip(ports, found), *zip(patience, again)]
    print(*sorted({port for port, yes in tried if yes}))

asyncio.run(main())
"""
# Local address and port in hexadecimal; 0A is LISTEN. Loopback is 0100007F, or ::1.
_LISTENING = """
awk '$4 == "0A" && $2 !~ /^(......7F|00000000000000000000000001000000):/ { sub(/.*:/, "", $2); print $2 }' \\
    /proc/net/tcp /proc/net/tcp6 2>/dev/null | sort -u
"""


def open_ports(lab: Lab, source: str, target: str) -> set[int]:
    """Every TCP port of `target` to which a connection from `source` succeeds; all 65,535 are tried."""
    known = " ".join(map(str, sorted(listening(lab, target))))
    done = lab.ssh(source, f"python3 - {lab.address(target)} {known} <<'END'\n{_SCAN}\nEND")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return {int(port) for port in str(done.stdout).split()}


def listening(lab: Lab, host: str) -> set[int]:
    """TCP ports on which `host` listens on more than loopback, by the kernel's own table."""
    done = lab.ssh(host, _LISTENING)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return {int(port, 16) for port in str(done.stdout).split()}
