"""The module streams of NVIDIA's EL 8 and 9 repositories: which packages each one shows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

OPEN, PROPRIETARY = "kmod-nvidia-open-dkms", "kmod-nvidia-latest-dkms"
# Metapackages of the other flavour would have nothing to depend on.
HIDDEN = {"open": (PROPRIETARY, "cuda-drivers"), "dkms": (OPEN, "nvidia-open")}
DEFAULT_STREAM = "latest-dkms"
QUERY = "%{NAME} %{VERSION} %{EPOCHNUM} %{RELEASE} %{ARCH}\n"

Row = tuple[str, str, str]
"""Name, version and what a module lists: name-epoch:version-release.arch."""


def rows_of(repository: Path) -> list[Row]:
    """The packages in this directory."""
    packages = sorted(str(path) for path in repository.glob("*.rpm"))
    listing = subprocess.run(
        ["rpm", "-qp", "--nosignature", f"--queryformat={QUERY}", *packages],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    fields = [line.split() for line in listing.splitlines()]
    return [
        (name, version, f"{name}-{epoch}:{version}-{release}.{arch}")
        for name, version, epoch, release, arch in fields
    ]


def describe(packages: list[Row], el: str) -> str:
    """modules.yaml of these packages."""
    rows = [row for row in packages if "container" not in row[0]]
    branches = sorted({version.split(".")[0] for _, version, _ in rows})
    documents = [_defaults()]
    for branch in branches:
        own = [row for row in rows if row[1].startswith(f"{branch}.")]
        documents += [_stream(f"{branch}-{kind}", kind, own, el) for kind in HIDDEN]
    documents.append(_stream("open-dkms", "open", rows, el))
    documents.append(_stream(DEFAULT_STREAM, "dkms", rows, el))
    return yaml.safe_dump_all(documents, explicit_start=True, sort_keys=False)


def _defaults() -> dict[str, object]:
    return {
        "document": "modulemd-defaults",
        "version": 1,
        "data": {"module": "nvidia-driver", "stream": DEFAULT_STREAM, "profiles": {}},
    }


def _stream(name: str, kind: str, rows: list[Row], el: str) -> dict[str, object]:
    shown = [row for row in rows if row[0] not in HIDDEN[kind]]
    return {
        "document": "modulemd",
        "version": 2,
        "data": {
            "name": "nvidia-driver",
            "stream": name,
            "version": 20261101000000,
            "context": "0123abcd",
            "arch": "x86_64",
            "summary": f"NVIDIA driver, stream {name}",
            "description": f"Stand-in for the module stream {name}.",
            "license": {"module": ["MIT"]},
            "dependencies": [{"requires": {"platform": [f"el{el}"]}}],
            "profiles": {"default": {"rpms": ["nvidia-driver-cuda"]}},
            "artifacts": {"rpms": [artifact for _, _, artifact in shown]},
        },
    }
