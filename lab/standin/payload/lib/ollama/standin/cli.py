"""The `ollama` command: `serve`, and thin verbs over HTTP to OLLAMA_HOST."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import client, settings
from .client import NoServerError, ServerSaidError

NO_SERVER = "could not connect to ollama server, run 'ollama serve' to start it"
USAGE = "Usage:\n  ollama [serve|list|ps|pull|run|show|rm|stop|cp] …\n  ollama --version"


def main(arguments: list[str]) -> int:
    verb, *rest = arguments or ["help"]
    if verb in ("serve", "start"):
        from . import serve  # the verbs start faster without the server

        return serve.main()
    if verb not in VERBS:
        known = verb in ("help", "-h", "--help")
        print(USAGE if known else f'Error: unknown command "{verb}" for "ollama"')
        return 0 if known else 1
    try:
        VERBS[verb](rest)
    except NoServerError:
        print(f"Error: {NO_SERVER}", file=sys.stderr)
        return 1
    except ServerSaidError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except (IndexError, ValueError):
        print(f"Error: wrong arguments for ollama {verb}\n{USAGE}", file=sys.stderr)
        return 1
    return 0


def ask(method: str, path: str, body: object = None) -> Any:
    return client.call(_address(), method, path, body)


def _address() -> settings.Address:
    return settings.address(settings.clean(os.environ, "OLLAMA_HOST"))


def version(_rest: list[str]) -> None:
    from pathlib import Path

    own = (Path(__file__).resolve().parents[1] / "VERSION").read_text().strip()
    try:
        served = ask("GET", "/api/version")["version"]
    except NoServerError:
        print("Warning: could not connect to a running Ollama instance")
        print(f"Warning: client version is {own}")
        return
    print(f"ollama version is {served}")
    if served != own:
        print(f"Warning: client version is {own}")


def list_models(_rest: list[str]) -> None:
    rows = [
        (model["name"], model["digest"][:12], f"{model['size'] / 1e6:.1f} MB", model["modified_at"])
        for model in ask("GET", "/api/tags")["models"]
    ]
    _table(("NAME", "ID", "SIZE", "MODIFIED"), rows)


def ps(_rest: list[str]) -> None:
    rows = [
        (
            m["name"],
            m["digest"][:12],
            f"{m['size'] / 1e9:.1f} GB",
            _processor(m),
            str(m["context_length"]),
            m["expires_at"],
        )
        for m in ask("GET", "/api/ps")["models"]
    ]
    _table(("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"), rows)


def _processor(model: dict[str, Any]) -> str:
    share = round(100 * model["size_vram"] / model["size"])
    if share in (0, 100):
        return "100% GPU" if share else "100% CPU"
    return f"{100 - share}%/{share}% CPU/GPU"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        print("    ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def pull(rest: list[str]) -> None:
    insecure = "--insecure" in rest
    name = next(word for word in [*rest, ""] if not word.startswith("-"))
    body = {"model": name, "insecure": insecure}
    shown = ""
    for record in client.records(_address(), "POST", "/api/pull", body):
        if record["status"] != shown:
            shown = record["status"]
            print(shown, flush=True)


def run(rest: list[str]) -> None:
    name, *words = [word for word in rest if not word.startswith("--")]
    try:
        ask("POST", "/api/show", {"model": name})
    except ServerSaidError:
        pull([name])
    body = {"model": name, "prompt": " ".join(words) or sys.stdin.read()}
    for record in client.records(_address(), "POST", "/api/generate", body):
        print(record.get("thinking") or record["response"], end="", flush=True)
    print()


def show(rest: list[str]) -> None:
    found = ask("POST", "/api/show", {"model": rest[0]})
    rows = [*found["details"].items(), ("capabilities", ", ".join(found["capabilities"]))]
    for key, value in rows:
        print(f"    {key:<22}{value}")


def remove(rest: list[str]) -> None:
    for name in rest:
        ask("DELETE", "/api/delete", {"model": name})
        print(f"deleted '{name}'")


def stop(rest: list[str]) -> None:
    ask("POST", "/api/generate", {"model": rest[0], "keep_alive": 0})


def copy(rest: list[str]) -> None:
    source, destination = rest
    ask("POST", "/api/copy", {"source": source, "destination": destination})
    print(f"copied '{source}' to '{destination}'")


VERBS: dict[str, Callable[[list[str]], None]] = {
    "--version": version,
    "-v": version,
    "list": list_models,
    "ls": list_models,
    "ps": ps,
    "pull": pull,
    "run": run,
    "show": show,
    "rm": remove,
    "stop": stop,
    "cp": copy,
}
