"""Certificates for a gateway on loopback, made by openssl and good for two days."""

import shutil
import subprocess
from pathlib import Path


def certificates(folder: Path, gateway: str, host: str, at_gateway: Path, at_hop: Path) -> None:
    """An authority in `folder`, and what it signs, under the names that gateway and hop read."""
    _openssl(folder, "req", "-x509", *_new_key("ca"), "-subj", "/CN=bench", "-out", "ca.pem")
    _signed(folder, "front", "localhost", "IP:127.0.0.1,DNS:localhost")
    _signed(folder, "hop", host, f"DNS:{host}")
    _signed(folder, "gateway", gateway, f"DNS:{gateway}")
    both = (folder / "gateway.pem").read_text() + (folder / "gateway.key").read_text()
    (at_gateway / "hop.pem").write_text(both)
    for source, target in (
        ("ca.pem", at_gateway / "hop-ca.pem"),
        ("front.pem", at_gateway / "server.pem"),
        ("front.key", at_gateway / "server.key"),
        ("ca.pem", at_hop / "gateways-ca.pem"),
        ("hop.pem", at_hop / "server.pem"),
        ("hop.key", at_hop / "server.key"),
    ):
        shutil.copyfile(folder / source, target)


def _signed(folder: Path, name: str, subject: str, alternative: str) -> None:
    (folder / f"{name}.ext").write_text(f"subjectAltName={alternative}\n")
    request, signed = f"{name}.csr", f"{name}.pem"
    _openssl(folder, "req", *_new_key(name), "-subj", f"/CN={subject}", "-out", request)
    sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
    wanted = ["-in", request, "-extfile", f"{name}.ext", "-out", signed]
    _openssl(folder, "x509", "-req", *sign, *wanted)


def _new_key(name: str) -> list[str]:
    kind = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    return ["-newkey", *kind, "-nodes", "-keyout", f"{name}.key"]


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
