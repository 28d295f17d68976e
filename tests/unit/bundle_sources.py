"""Small originals of everything that a bundle is made of, served by a test's own server."""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.unit.web_server import Site

ARCHIVE = b"an archive of Ollama" * 1000
DEB = "/compute/debian12/x86_64"
TOOLKIT = "/toolkit/stable/deb/amd64"
TOOLKIT_PACKAGES = (
    *("nvidia-container-toolkit", "nvidia-container-toolkit-base"),
    *("libnvidia-container-tools", "libnvidia-container1"),
)
DRIVER = [
    ("nvidia-kernel-open-dkms", "580.95.05-1", "dkms, nvidia-persistenced"),
    ("nvidia-driver-cuda", "580.95.05-1", "libglue (>= 2) | other, libc6"),
    ("nvidia-kernel-open-dkms", "580.65.06-1", ""),
    ("nvidia-driver-cuda", "580.65.06-1", ""),
    ("nvidia-driver-cuda", "595.58.03-1", ""),
    ("nvidia-driver-pinning-580", "580-1", ""),
    ("nvidia-driver-pinning-595", "595-1", ""),
    ("libglue", "2.9-1", "libdeep"),
    ("libglue", "2.10-1", "libdeep"),
    ("libdeep", "1", ""),
    ("cuda-toolkit-13", "13.0-1", ""),
]


@dataclass(frozen=True)
class Signer:
    """A key of this test run."""

    home: Path

    def _gpg(self, *words: str, content: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", *words]
        return subprocess.run(command, input=content, capture_output=True, check=True).stdout

    def make(self) -> "Signer":
        self.home.mkdir(mode=0o700)
        self._gpg(
            "--passphrase", "", "--quick-gen-key", "Test <t@localhost>", "ed25519", "sign", "0"
        )
        return self

    def public(self, *options: str) -> bytes:
        return self._gpg(*options, "--export")

    def fingerprint(self) -> str:
        rows = self._gpg("--with-colons", "--list-keys").decode().splitlines()
        return next(row.split(":")[9] for row in rows if row.startswith("fpr"))

    def clearsign(self, content: bytes) -> bytes:
        return self._gpg("--clearsign", content=content)


def add_apt(site: Site, place: str, signer: Signer, rows: list[tuple[str, str, str]]) -> None:
    """An apt repository of these (package, version, depends)."""
    stanzas = []
    for name, version, depends in rows:
        content = f"{name} {version}".encode()
        file = f"{name}_{version}_amd64.deb"
        site.files[f"{place}/{file}"] = content
        stanzas.append(
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nDepends: {depends}\n"
            f"Description: one\n of them\nFilename: ./{file}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    packages = "\n".join(stanzas).encode()
    sums = f" {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    gone = f" {'0' * 64} 12 Packages.gz\n"  # named, and not there
    site.files[f"{place}/Packages"] = packages
    site.files[f"{place}/InRelease"] = signer.clearsign(
        f"Origin: x\nSHA256:\n{sums}{gone}".encode()
    )


def fill(site: Site, signer: Signer) -> None:
    """All originals: a release, two models that share a blob, a driver's repository, the toolkit's."""
    release = "/releases/v0.32.15"
    site.files[f"{release}/ollama-linux-amd64.tar.zst"] = ARCHIVE
    digest = hashlib.sha256(ARCHIVE).hexdigest()
    site.files[f"{release}/sha256sum.txt"] = f"{digest}  ./ollama-linux-amd64.tar.zst\n".encode()
    for name in ("small", "large"):
        site.add_model(f"library/{name}", "1b", name.encode() * 5000, b"a shared template")
    add_apt(site, DEB, signer, DRIVER)
    site.files[f"{DEB}/3bf863cc.pub"] = signer.public("--armor")
    rows = [(name, f"{v}-1", "") for name in TOOLKIT_PACKAGES for v in ("1.19.0", "1.20.0")]
    add_apt(site, TOOLKIT, signer, rows)
    site.files["/toolkit/gpgkey"] = signer.public("--armor")


def write_inventory(folder: Path, site: Site, signer: Signer, **driver: object) -> Path:
    """An inventory whose one host gets everything from `site`."""
    key = signer.fingerprint()
    content = {
        "version": 1,
        "ollama": {
            "version": "0.32.15",
            "sha256": {"amd64": hashlib.sha256(ARCHIVE).hexdigest()},
            "release_url": f"{site.url}/releases",
            "registry": site.url,
        },
        "driver": {"repository": f"{site.url}/compute", "key_fingerprint": key, **driver},
        "container_toolkit": {"repository": f"{site.url}/toolkit", "key_fingerprint": key},
        "hosts": {"one": {"slices": [{"name": "a", "gpus": [0], "models": ["small:1b"]}]}},
        "models": {"extra": ["large:1b"]},
    }
    path = folder / "prod.yml"
    path.write_text(yaml.safe_dump(content))
    return path
