"""A host and a gateway on lab machines that have certificates and what reads them: real nginx and HAProxy.

Only the certificate steps are deployed; services with the names of the gateway's are written here.
"""

from pathlib import Path
from typing import Any

from tests.lab.fleet import Fleet

HOST, GATEWAY = "ce1", "cegw"
NAME = "llm.example.org"
PORT = 11443
HOP_TLS, GATEWAY_TLS = "/etc/ollama/hop/tls", "/etc/ollama/gateway/tls"
DEPLOY = """
from pyinfra import host
from ollama_fleet.host.certificates import gateway_certificates, hop_certificates
from ollama_fleet.host.session import begin

_, gateway, plan = begin(host)
if plan and plan.hop:
    hop_certificates(name="Hop", plan=plan, ca_dir=plan.hop.authority)
if gateway:
    gateway_certificates(name="Gateway", plan=gateway, ca_dir=gateway.authority)
"""
NGINX = """
error_log stderr;
pid /run/{name}.pid;
events {{}}
http {{
    access_log off;
{servers}
}}
"""
UNIT = """
[Service]
ExecStart={run}
ExecReload=/bin/kill -{signal} $MAINPID
"""
HOP = f"""
    server {{
        listen {PORT} ssl;
        ssl_certificate {HOP_TLS}/server.pem;
        ssl_certificate_key {HOP_TLS}/server.key;
        ssl_client_certificate {HOP_TLS}/gateways-ca.pem;
        ssl_verify_client on;
        location / {{ return 200 "$ssl_client_s_dn"; }}
    }}
"""
FRONT = f"""
    server {{
        listen 443 ssl;
        ssl_certificate {GATEWAY_TLS}/server.pem;
        ssl_certificate_key {GATEWAY_TLS}/server.key;
        location / {{ return 200 gateway; }}
    }}
"""
BALANCER = f"""
global
    log stderr local0
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend here
    bind 127.0.0.1:8000
    default_backend hop
backend hop
    server one ADDRESS:{PORT} ssl crt {GATEWAY_TLS}/hop.pem ca-file {GATEWAY_TLS}/hop-ca.pem \
verify required verifyhost {HOST} sni str({HOST})
"""


class Certified(Fleet):
    """A fleet of which only the certificates are deployed."""

    def command(self, *options: str) -> list[str]:
        script = self.folder / "certificates.py"
        script.write_text(DEPLOY)
        return [str(script) if word == "deploy.py" else word for word in super().command(*options)]

    def gateway(self, **settings: Any) -> None:
        """What the inventory says of it."""
        self.settings = {
            "gateway": {"names": [NAME], **settings},
            "gateways": {GATEWAY: {"address": self.lab.address(GATEWAY)}},
        }

    def start(self) -> None:
        """Start what reads the certificates, where it does not run."""
        balancer = BALANCER.replace("ADDRESS", self.lab.address(HOST))
        self._write(GATEWAY, "/etc/balancer.cfg", balancer)
        self._serve(HOST, "ollama-hop", HOP)
        self._serve(GATEWAY, "ollama-gateway", FRONT)
        self._unit(GATEWAY, "ollama-balancer", "/usr/sbin/haproxy -W -f /etc/balancer.cfg", "USR2")

    def _serve(self, host: str, name: str, servers: str) -> None:
        self._write(host, f"/etc/{name}.conf", NGINX.format(name=name, servers=servers))
        self._unit(host, name, f"/usr/sbin/nginx -c /etc/{name}.conf -g 'daemon off;'", "HUP")

    def _unit(self, host: str, name: str, run: str, signal: str) -> None:
        self._write(
            host, f"/etc/systemd/system/{name}.service", UNIT.format(run=run, signal=signal)
        )
        self.sh(host, f"systemctl daemon-reload; systemctl start {name}; sleep 0.5")
        self.sh(host, f"systemctl is-active {name} || journalctl -u {name} -n 20 >&2")

    def _write(self, host: str, path: str, text: str) -> None:
        self.sh(host, f"cat >{path} <<'END'\n{text}\nEND")

    def processes(self) -> list[str]:
        """The services that have certificates, by their main process."""
        wanted = {HOST: "ollama-hop", GATEWAY: "ollama-gateway ollama-balancer"}
        show = "systemctl show -p MainPID --value"
        return [self.sh(host, f"{show} {units}") for host, units in wanted.items()]

    def hop(self, host: str, arguments: str, name: str = HOST) -> str:
        """curl's exit code, the status and the answer of the host's nginx, asked with these."""
        to = f"--resolve {name}:{PORT}:{self.lab.address(HOST)} https://{name}:{PORT}/"
        write = "-w ' %{http_code} %{exitcode}'"
        return self.sh(host, f"curl -s --max-time 5 {write} {arguments} {to} | tail -n 1; true")

    def balanced(self) -> str:
        """What comes through HAProxy: the answer and the status."""
        return self.sh(GATEWAY, "curl -s -w ' %{http_code}' http://127.0.0.1:8000/ | tail -n 1")

    def shown(self, what: str = "-ext subjectAltName") -> str:
        """What openssl says of the certificate that clients get."""
        return self.sh(
            GATEWAY,
            f"openssl s_client -connect 127.0.0.1:443 -servername {NAME} </dev/null 2>/dev/null | "
            f"openssl x509 -noout {what}",
        )

    @property
    def authority(self) -> Path:
        """Its folder."""
        return self.folder / "test.ca"
