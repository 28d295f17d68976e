"""An HTTP proxy that prints its address, then each address that is fetched through it.

python logging_proxy.py ADDRESS
"""

import shutil
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OWN_HEADERS = ("connection", "host", "proxy-connection", "transfer-encoding")


class Proxy(BaseHTTPRequestHandler):
    """Fetches what it is asked for, directly."""

    def do_GET(self) -> None:
        print(self.command, self.path, flush=True)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in OWN_HEADERS}
        request = urllib.request.Request(self.path, headers=headers, method=self.command)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            answer = direct.open(request)
        except urllib.error.HTTPError as error:
            answer = error
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in OWN_HEADERS:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            shutil.copyfileobj(answer, self.wfile)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the addresses are said already."""


if __name__ == "__main__":
    server = ThreadingHTTPServer((sys.argv[1], 0), Proxy)
    print(f"http://{sys.argv[1]}:{server.server_port}", flush=True)
    server.serve_forever()
