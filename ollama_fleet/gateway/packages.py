"""What the gateway's programs are called, and which packages bring them."""

NGINX, HAPROXY, KEEPALIVED = "/usr/sbin/nginx", "/usr/sbin/haproxy", "/usr/sbin/keepalived"
MODULE = "ngx_http_js_module.so"
MODULE_DIRS = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")
# What has to be there, as shell that fails without it, and the package that brings it, by packager.
HOP = {
    f"[ -x {NGINX} ]": {"apt": "nginx", "dnf": "nginx"},
    "command -v curl": {"apt": "curl", "dnf": "curl"},
    "command -v openssl": {"apt": "openssl", "dnf": "openssl"},
}
GATEWAY = {
    **HOP,
    " || ".join(f"[ -e {folder}/{MODULE} ]" for folder in MODULE_DIRS): {
        "apt": "libnginx-mod-http-js",
        "dnf": "nginx-module-njs",
    },
    f"[ -x {HAPROXY} ]": {"apt": "haproxy", "dnf": "haproxy"},
    "command -v socat": {"apt": "socat", "dnf": "socat"},
    "command -v logrotate": {"apt": "logrotate", "dnf": "logrotate"},
}
CERTBOT = {"command -v certbot": {"apt": "certbot", "dnf": "certbot"}}

# Beside them where gateways share an address.
ADDRESS = {
    f"[ -x {KEEPALIVED} ]": {"apt": "keepalived", "dnf": "keepalived"},
    "command -v ip": {"apt": "iproute2", "dnf": "iproute"},
}
