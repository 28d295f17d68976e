"""What the mirror host serves (`.lab/mirror`): apt packages, Ollama releases, models.

The paths are those of the public originals; `mirror.nginx` serves them, `host_files` installs it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from lab.image import Image
from lab.keys import ensure_archive_key
from lab.packages.world import ensure_world, install_world
from lab.repository import ORIGINS, ensure_archive
from lab.state import LabPaths

RELEASES = "ollama/ollama/releases/download"


def ensure_tree(paths: LabPaths, image: Image, console: Console) -> None:
    """Only what is missing or outdated is made."""
    ensure_archive_key(paths)
    with console.status("preparing what the mirror serves: packages") as status:
        world = ensure_world()
        install_world(world, paths.mirror)
        for archive in ORIGINS:
            pools = world / "pools" / archive
            ensure_archive(paths.mirror / archive, image.debs, pools, paths.archive_key)
        status.update("preparing what the mirror serves: Ollama")
        _ensure_release(paths)
        status.update("preparing what the mirror serves: models")
        _ensure_models(paths)
    make_readable(paths.mirror)


def _ensure_release(paths: LabPaths) -> None:
    from lab.standin import pack  # only the mirror needs it

    version = f"v{pack.DEFAULT_VERSION}"
    pack.build_release(paths.mirror / RELEASES / version, cache=paths.root / "cache")


def _ensure_models(paths: LabPaths) -> None:
    from lab.models import build_registry  # numpy and gguf take a moment to load

    build_registry(paths.mirror)


def make_readable(tree: Path) -> None:
    """nginx does not run as root, and the umask here may be strict."""
    for folder, _, names in os.walk(tree):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            with suppress(FileNotFoundError):  # whoever put it there may take it away meanwhile
                wanted = 0o755 if path.is_dir() else 0o644
                if path.stat().st_mode & wanted & 0o055 != wanted & 0o055:
                    path.chmod(wanted)
