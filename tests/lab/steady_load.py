"""A steady load of streaming requests, as a program for a lab host: it knows nothing but Python's library.

    python3 steady_load.py WHERE MODEL SECONDS THREADS

WHERE is host:port of a gateway, or `unix:PATH` of a balancer. Ends early when standard input does. Prints one
JSON object: answered, lost (with what came instead), by (slice to answers), longest_s.
"""

import http.client
import json
import socket
import sys
import threading
import time


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(120)
        self.sock.connect(self.path)


def connection(where: str) -> http.client.HTTPConnection:
    if where.startswith("unix:"):
        return Unix(where[5:])
    return http.client.HTTPConnection(where, timeout=120)


def pool(model: str) -> str:
    return "model." + "".join(c if c.isalnum() or c in ".-" else f"_{ord(c):02x}" for c in model)


def stream(where: str, model: str) -> str:
    """One request to its end; the slice that answered. Raises ValueError with what came instead."""
    body = {"model": model, "prompt": "count", "options": {"num_predict": 200}}
    client = connection(where)
    client.request("POST", "/api/generate", json.dumps(body), {"X-Ollama-Pool": pool(model)})
    answer = client.getresponse()
    if answer.status != 200:
        raise ValueError(f"status {answer.status}: {answer.read(200)!r}")
    last = b""
    for line in answer:
        last = line
    if b'"done":true' not in last:
        raise ValueError(f"ends with {last[:200]!r}")
    client.close()
    return answer.headers.get("X-Served-By", "?")


def main(where: str, model: str, seconds: str, threads: str) -> None:
    over = threading.Event()
    found = {"answered": 0, "lost": [], "by": {}, "longest_s": 0.0}
    lock = threading.Lock()

    def work() -> None:
        while not over.is_set():
            began = time.time()
            try:
                by, lost = stream(where, model), None
            except (OSError, ValueError, http.client.HTTPException) as error:
                by, lost = "", f"{time.strftime('%T')} after {time.time() - began:.1f} s: {error!r}"
            with lock:
                found["longest_s"] = max(found["longest_s"], round(time.time() - began, 1))
                if lost:
                    found["lost"].append(lost)
                else:
                    found["answered"] += 1
                    found["by"][by] = found["by"].get(by, 0) + 1

    workers = [threading.Thread(target=work) for _ in range(int(threads))]
    for worker in workers:
        worker.start()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    over.wait(float(seconds))
    over.set()
    for worker in workers:
        worker.join()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
