"""Certificates for the way between gateways and hosts, for as long as no deploy makes them."""

import base64
import subprocess
from pathlib import Path

from lab.lab import Lab

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def give_certificates(lab: Lab, folder: Path, *hosts: str) -> None:
    """An authority, and what it signed, where the hop and the balancer look for it."""
    _openssl(
        folder, "req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=lab"
    )
    for name in (*hosts, "client"):
        _signed(folder, name)
    client = (folder / "client.pem").read_bytes() + (folder / "client.key").read_bytes()
    authority = (folder / "ca.pem").read_bytes()
    for host in hosts:
        own = {
            "hop/tls/server.pem": (folder / f"{host}.pem").read_bytes(),
            "hop/tls/server.key": (folder / f"{host}.key").read_bytes(),
            "hop/tls/gateways-ca.pem": authority,
            "gateway/tls/hop.pem": client,
            "gateway/tls/hop-ca.pem": authority,
        }
        for path, content in own.items():
            text = base64.b64encode(content).decode()
            target = f"/etc/ollama/{path}"
            make = f"mkdir -p {target.rpartition('/')[0]}"
            done = lab.ssh(
                host, f"{make} && echo {text} | base64 -d >{target} && chmod 644 {target}"
            )
            assert done.returncode == 0, done.stderr


def _signed(folder: Path, name: str) -> None:
    (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{name}\n")
    _openssl(
        folder,
        "req",
        *_KEY,
        "-keyout",
        f"{name}.key",
        "-out",
        f"{name}.csr",
        "-subj",
        f"/CN={name}",
    )
    words = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext")
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *words, "-out", f"{name}.pem")


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
