"""A lab host that is the public originals for a mirror: it redirects as they do, and counts its bytes.

Registry: 307 to signed addresses on another port. Releases: 302 twice, once to a relative address.
"""

import hashlib
import subprocess

from lab.lab import Lab

# A model with one large part, of random bytes: three slices of a mirror.
BIG, BIG_MIB = "library/big", 80
SITE = """
log_format counted '$status $body_bytes_sent $request_uri "$http_range" "$http_authorization"';
access_log /var/log/nginx/counted.log counted;
map $uri $slow {
    default 0;
    ~/slow/ 16m;
}
server {
    listen 8000;
    root /srv/origin;
    default_type application/octet-stream;
    absolute_redirect off;
    location ~ ^/v2/library/cut/blobs/ { return 307 $scheme://$host:8002$uri; }
    location ~ ^/v2/(.+)/blobs/(.+)$ {
        return 307 $scheme://$host:8001/v2/$1/blobs/$2?X-Signature=ab%2Fcd;
    }
    location ~ ^/v2/.+/manifests/ {
        default_type application/vnd.docker.distribution.manifest.v2+json;
        add_header Set-Cookie "__cf=1";
    }
    location /ollama/ollama/releases/download/ {
        return 302 $scheme://$host:8001/renamed$uri?se=2026;
    }
    location = /v2/library/elsewhere/manifests/latest { return 302 http://$http_x_nowhere/; }
    location = /v2/library/looping/manifests/latest { return 302 $uri; }
    location = /v2/library/failing/manifests/latest { return 500; }
}
server {
    listen 8001;
    root /srv/origin;
    default_type application/octet-stream;
    absolute_redirect off;
    location /renamed/ { rewrite ^/renamed(.*)$ /assets$1?se=2026 redirect; }
    location /assets/ {
        if ($arg_se = "") { return 403; }
        alias /srv/origin/;
    }
    location /v2/ {
        if ($arg_X-Signature = "") { return 403; }
        limit_rate $slow;
        try_files $uri =404;
    }
}
"""
MAKE_BIG = f"""
cd /srv/origin/v2/{BIG}
head -c {BIG_MIB}M /dev/urandom >blob
digest=$(sha256sum blob | cut -d' ' -f1)
mv blob blobs/sha256:$digest
echo '{{"model_format":"gguf"}}' >config
config=$(sha256sum config | cut -d' ' -f1) size=$(stat -c %s config)
mv config blobs/sha256:$config
cat >manifests/latest <<END
{{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
"config": {{"mediaType": "application/vnd.docker.container.image.v1+json",
"digest": "sha256:$config", "size": $size}},
"layers": [{{"mediaType": "application/vnd.ollama.image.model",
"digest": "sha256:$digest", "size": $(({BIG_MIB} * 1048576))}}]}}
END
echo $digest
"""


# Announces all of a file and ends in the middle of it, the first time.
CUT = """
import hashlib, http.server, random, re
body = random.Random(1).randbytes(3 << 20)
tries = []
class Cut(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        first, last = map(int, re.findall(r"\\d+", self.headers["Range"]))
        part = body[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(body)}")
        self.end_headers()
        self.wfile.write(part if tries else part[: len(part) // 2])
        tries.append(1)
open("/tmp/cut.digest", "w").write(hashlib.sha256(body).hexdigest())
http.server.ThreadingHTTPServer(("", 8002), Cut).serve_forever()
"""


# Says for every name that it is this host.
NAMES = """
import socket, sys
answers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
answers.bind(("", 53))
while True:
    asked, whence = answers.recvfrom(512)
    end = asked.index(0, 12) + 5
    is_a = asked[end - 4 : end - 2] == bytes([0, 1])
    head = asked[:2] + bytes([0x81, 0x80, 0, 1, 0, is_a, 0, 0, 0, 0]) + asked[12:end]
    found = bytes([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4]) + socket.inet_aton(sys.argv[1])
    answers.sendto(head + (found if is_a else b""), whence)
"""
# The right certificate only for whoever says which name it wants.
TLS = """
server {
    listen 8443 ssl default_server;
    ssl_certificate /srv/tls/other.crt;
    ssl_certificate_key /srv/tls/other.key;
    return 421;
}
server {
    listen 8443 ssl;
    server_name origin.example;
    ssl_certificate /srv/tls/origin.example.crt;
    ssl_certificate_key /srv/tls/origin.example.key;
    root /srv/origin;
    location /v2/library/down/ { return 302 http://origin.example:8000/v2/library/qwen3/manifests/0.6b; }
}
"""
MAKE_TLS = """
mkdir -p /srv/tls; cd /srv/tls
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 9 -subj /CN=lab-ca
for name in origin.example other; do
    openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
    echo "subjectAltName=DNS:$name" >$name.ext
    openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 \\
        -extfile $name.ext -out $name.crt
done
"""


class Origin:
    """The originals on `host`; `big` is the digest of the large blob."""

    def __init__(self, lab: Lab, host: str) -> None:
        self.lab, self.host, self.big = lab, host, ""
        self.url = f"http://{lab.address(host)}:8000"

    def start(self) -> None:
        """Fill it from the lab's mirror and let it serve."""
        self.sh("apt-get -qq update && apt-get -qq -y install nginx curl >/dev/null 2>&1")
        self.sh(f"rm -f /etc/nginx/sites-enabled/*; mkdir -p /srv/origin/v2/{BIG}/manifests")
        self.sh(f"mkdir -p /srv/origin/v2/{BIG}/blobs; chmod 755 /srv/origin")
        tree = ("ollama", "v2/library", "compute/cuda/repos/debian12", "libnvidia-container")
        pack = subprocess.Popen(
            ["tar", "-C", str(self.lab.paths.mirror), "-c", *tree], stdout=subprocess.PIPE
        )
        command = [*self.lab.ssh_command(self.host), "--", "tar -C /srv/origin -x"]
        subprocess.run(command, stdin=pack.stdout, check=True)
        assert pack.wait() == 0
        self.big = self.sh(MAKE_BIG)
        self.sh(f"cat >/etc/nginx/conf.d/origin.conf <<'END'\n{SITE}\nEND\nsystemctl restart nginx")

    def sh(self, command: str) -> str:
        done = self.lab.ssh(self.host, command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return str(done.stdout).strip()

    @property
    def upstreams(self) -> dict[str, str]:
        """What a mirror is told."""
        return {
            "releases": f"{self.url}/ollama/ollama/releases/download",
            "models": self.url,
            "driver": f"{self.url}/compute/cuda/repos",
            "container_toolkit": f"{self.url}/libnvidia-container",
        }

    def forget(self) -> None:
        """Start counting anew."""
        self.sh(": >/var/log/nginx/counted.log")

    def sent(self) -> list[tuple[int, int, str]]:
        """Status, bytes and path of every answer since `forget`."""
        rows = [line.split() for line in self.sh("cat /var/log/nginx/counted.log").splitlines()]
        return [(int(row[0]), int(row[1]), row[2].partition("?")[0]) for row in rows]

    def sent_bytes(self) -> int:
        """Bytes of bodies since `forget`."""
        return sum(size for _, size, _ in self.sent())

    def cut_once(self) -> str:
        """Digest of a blob of library/cut that ends early once, 3 MiB."""
        self.sh(f"cat >/tmp/cut.py <<'END'\n{CUT}\nEND\nrm -f /tmp/cut.digest")
        self.sh("systemctl stop cut 2>/dev/null; systemd-run -q --unit cut python3 /tmp/cut.py")
        return self.sh("until [ -s /tmp/cut.digest ]; do sleep 0.1; done; cat /tmp/cut.digest")

    def slow(self) -> str:
        """Digest of the large blob as one of library/slow, which comes at 16 MiB/s."""
        self.sh("ln -sfn big /srv/origin/v2/library/slow")
        return self.big

    def publish(self, model: str, content: bytes) -> str:
        """A blob whose name is not what it holds; returns its digest."""
        right = hashlib.sha256(content + b", but this").hexdigest()
        folder = f"/srv/origin/v2/{model}/blobs"
        self.sh(f"mkdir -p {folder}; printf '%s' '{content.decode()}' >{folder}/sha256:{right}")
        return right

    def correct(self, model: str, digest: str) -> None:
        """Make the blob what its name says."""
        self.sh(f"printf ', but this' >>/srv/origin/v2/{model}/blobs/sha256:{digest}")

    def serve_tls(self) -> dict[str, str]:
        """The same over TLS, by a name that only this host's own name server knows; upstreams of it."""
        self.sh(f"({MAKE_TLS}) >/dev/null 2>&1")
        self.sh(f"cat >/tmp/names.py <<'END'\n{NAMES}\nEND\nsystemctl stop names 2>/dev/null; true")
        self.sh(f"systemd-run -q --unit names python3 /tmp/names.py {self.lab.address(self.host)}")
        self.sh(f"cat >/etc/nginx/conf.d/tls.conf <<'END'\n{TLS}\nEND\nsystemctl reload nginx")
        return dict.fromkeys(self.upstreams, "https://origin.example:8443")
