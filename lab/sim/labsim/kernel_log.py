"""Lines of the kernel log. The kernel's own belongs to the outer machine, so they go to syslog as
`kernel`: `journalctl -t kernel` shows them as on a real host (`journalctl -k` and dmesg do not).
A copy is in kernel.log of the hardware folder."""

from __future__ import annotations

import os
import socket

from . import paths

SYSLOG = "/dev/log"
KERN_ERROR = 3


def write(text: str) -> None:
    with open(paths.KERNEL_LOG, "a", encoding="utf-8") as file:
        file.write(text + "\n")
    if paths.ROOT or not os.path.exists(SYSLOG):  # a test beside the real machine logs to the file
        return
    for line in text.splitlines():
        _send(line)


def _send(line: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.connect(SYSLOG)
            sock.send(f"<{KERN_ERROR}>kernel: {line}".encode())
        except OSError:
            return
