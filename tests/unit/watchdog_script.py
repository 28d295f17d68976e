"""The watchdog's script with its places in a folder of the test, as dash runs it."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from ollama_fleet.claim import LOCK, OWNER
from ollama_fleet.planner.watching import WatchPlan
from ollama_fleet.watching import places
from ollama_fleet.watching.watchdog import watchdog_files
from tests.unit.examples import bound, hardware, host_plan

SHELL = shutil.which("dash") or "sh"
CHAT = {"name": "chat", "gpus": [0], "models": ["qwen3:0.6b"]}
CODE = {"name": "code", "gpus": [1], "models": ["qwen3:0.6b"]}


class Watchdog:
    """The rendered script with its places in a folder; its functions are called one by one."""

    def __init__(self, folder: Path, *slices: dict, **watch: int | bool) -> None:
        self.folder = folder
        plan = replace(host_plan(*(slices or (CHAT, CODE))), watch=WatchPlan(**watch))
        files = {file.path: file.text for file in watchdog_files(plan, bound(plan), hardware(4))}
        text = files[places.WATCHDOG_SCRIPT]
        self.looks = self._at(places.HEALTH_DIR)
        self.run_dir = self._at(places.WATCHDOG_RUN_DIR)
        self.state = self._at(places.WATCHDOG_STATE)
        self.fleet_dir = self._at(str(Path(OWNER).parent))
        for path in (places.WATCHDOG_JOB, places.HEALTH_DIR, places.WATCHDOG_RUN_DIR, OWNER, LOCK):
            text = text.replace(path, f"{folder}{path}")
        text = text.replace(places.WATCHDOG_STATE, str(self.state)).replace("smi_s=20", "smi_s=1")
        self.script = folder / "watchdog"
        self.script.write_text(text)
        job = folder / places.WATCHDOG_JOB.lstrip("/")
        job.parent.mkdir(parents=True)
        job.write_text(files[places.WATCHDOG_JOB])
        self.bin = folder / "bin"
        self.bin.mkdir()

    def _at(self, path: str) -> Path:
        made = self.folder / path.lstrip("/")
        made.mkdir(parents=True, exist_ok=True)
        return made

    def stub(self, name: str, text: str) -> None:
        """A program of the host that is not here: the GPUs' and systemd's."""
        file = self.bin / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def call(self, steps: str) -> str:
        head = f"set -- test\n. {self.script}\nPATH={self.bin}:$PATH now=$(date +%s)\n"
        done = subprocess.run(
            [SHELL, "-c", head + steps], capture_output=True, text=True, timeout=30
        )
        return (done.stdout + done.stderr).strip()

    def repairs(self, *lines: str) -> None:
        (self.state / "repairs").write_text("".join(f"{line}\n" for line in lines))
