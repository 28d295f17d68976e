"""What one machine of the lab can reach on another: every TCP port tried, from the outside.

`open_ports` is what a stranger gets; `listening` what is there to be reached. Both are asked of the
machines themselves, by nothing but Python's standard library and /proc.
"""

from lab.lab import Lab

# Run on the machine that looks. A firewall that drops makes each port wait, so thousands wait at once; what
# is known to listen is tried once more with patience, so that a slow machine hides nothing.
_SCAN = """
import resource, select, socket, sys, time
address, known = sys.argv[1], [int(port) for port in sys.argv[2:]]
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
at_once = min(16384, hard - 100)
resource.setrlimit(resource.RLIMIT_NOFILE, (at_once + 100, hard))

def opened(ports, patience_s):
    waiting, poll = {}, select.epoll()
    for port in ports:
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex((address, port))
        poll.register(one, select.EPOLLOUT)
        waiting[one.fileno()] = (one, port)
    ends = time.monotonic() + patience_s
    while waiting and (left_s := ends - time.monotonic()) > 0:
        for number, _ in poll.poll(left_s):
            poll.unregister(number)
            one, port = waiting.pop(number)
            if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                yield port
            one.close()
    for one, _ in waiting.values():
        one.close()
    poll.close()

ports = range(1, 65536)
found = set(opened(known, 5.0))
for first in range(0, len(ports), at_once):
    found.update(opened(ports[first : first + at_once], 1.0))
print(*sorted(found))
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
