"""A steady load of streaming requests, as a program for a lab host: it knows nothing but Python's library.

    python3 steady_load.py HOST:PORT MODEL SECONDS THREADS

Ends early when standard input does. Prints one JSON object: answered, lost (with what came instead),
longest_s.
"""

import http.client
import json
import sys
import threading
import time


def stream(where: str, model: str) -> None:
    """One request to its end. Raises ValueError with what came instead."""
    body = {"model": model, "prompt": "count", "options": {"num_predict": 200}}
    client = http.client.HTTPConnection(where, timeout=120)
    client.request("POST", "/api/generate", json.dumps(body))
    answer = client.getresponse()
    if answer.status != 200:
        raise ValueError(f"status {answer.status}: {answer.read(200)!r}")
    last = b""
    for line in answer:
        last = line
    if b'"done":true' not in last:
        raise ValueError(f"ends with {last[:200]!r}")
    client.close()


def main(where: str, model: str, seconds: str, threads: str) -> None:
    over = threading.Event()
    found = {"answered": 0, "lost": [], "longest_s": 0.0}
    lock = threading.Lock()

    def work() -> None:
        while not over.is_set():
            began = time.time()
            try:
                stream(where, model)
                lost = None
            except (OSError, ValueError, http.client.HTTPException) as error:
                lost = f"{time.strftime('%T')} after {time.time() - began:.1f} s: {error!r}"
            with lock:
                found["longest_s"] = max(found["longest_s"], round(time.time() - began, 1))
                if lost:
                    found["lost"].append(lost)
                else:
                    found["answered"] += 1

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
