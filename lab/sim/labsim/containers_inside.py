"""nvidia-smi in a container: sees the GPUs whose nodes the kernel lets it open, as NVML does."""

from __future__ import annotations

import glob
import os
from typing import Any

from . import client, disk
from .smi import command


def main(arguments: list[str]) -> int:
    if not _opens("/dev/nvidiactl"):
        print("Failed to initialize NVML: Unknown Error")
        return 255
    disk.library_version = _library_version
    client.ask = _asking_for_mine(client.ask)
    return command.main(arguments)


def _opens(path: str, mode: int = os.O_RDWR) -> bool:
    try:
        os.close(os.open(path, mode | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _library_version() -> str | None:
    """Of the file that was mounted; the link to it is made by a part that the lab leaves out."""
    patterns = [f"/{folder}/{disk.LIBRARY}.*.*" for folder in disk.LIBRARY_FOLDERS]
    found = [path for pattern in patterns for path in glob.glob(pattern)]
    return found[0].split(f"{disk.LIBRARY}.")[1] if found else None


def _asking_for_mine(ask: Any) -> Any:
    def mine(op: str, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = ask(op, **request)
        if "gpus" in answer:
            visible = [gpu for gpu in answer["gpus"] if _opens(f"/dev/nvidia{gpu['minor']}")]
            answer["gpus"] = [_counted(gpu, n) for n, gpu in enumerate(visible)]
        return answer

    return mine


def _counted(gpu: dict[str, Any], index: int) -> dict[str, Any]:
    """A GPU with the MIG devices that may be used here, both counted from 0."""
    found = {**gpu, "index": index}
    if gpu.get("mig_devices"):
        mine = [mig for mig in gpu["mig_devices"] if all(map(_reads, mig["nodes"]))]
        found["mig_devices"] = [{**mig, "index": n} for n, mig in enumerate(mine)]
    return found


def _reads(node: str) -> bool:
    """Nobody may write to a capability's node."""
    return _opens(f"/dev/{node}", os.O_RDONLY)
