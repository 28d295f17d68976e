"""dkms of a lab host: builds the driver's module files for every kernel that has its headers.

Source: /usr/src/nvidia-VERSION/dkms.conf with a line LAB_FLAVOUR=open|proprietary; a file FAILS
beside it makes the build fail, a file NO_DEVICES makes a driver that finds no GPU. What is built
lies in /var/lib/dkms, what is installed in /lib/modules, as in reality.
"""

from __future__ import annotations

import glob
import os
import re
import secrets
import shutil
import sys
from typing import Any

from . import disk, install, machine, paths, secure_boot

TREE = f"{paths.ROOT}/var/lib/dkms"
TAKES_VALUE = {"-m": "-m", "-v": "-v", "-k": "-k", "--kernelver": "-k", "-a": "-a", "--arch": "-a"}
VERBS = ("add", "build", "install", "autoinstall", "uninstall", "unbuild", "remove", "status")
BAD_BUILD, NO_SOURCE, NO_HEADERS, NOT_ADDED = 10, 2, 1, 3


class DkmsError(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def main(arguments: list[str]) -> int:
    verb, options, names = _parsed(arguments)
    try:
        return _run(verb, options, names)
    except DkmsError as error:
        print(f"Error! {error}", file=sys.stderr)
        return error.code


def _run(verb: str, options: dict[str, str], names: list[str]) -> int:
    if verb == "generate_mok":
        _certificate()
        return 0
    if verb == "status":
        return _status(options, names)
    if verb == "autoinstall":
        return _autoinstall(options.get("-k"))
    if verb not in VERBS:
        raise DkmsError(1, f"Unknown action specified: {verb}")
    version = _version(options, names)
    if verb == "add":
        return _add(version)
    if verb in ("remove", "uninstall", "unbuild"):
        return _remove(version, options.get("-k"), forget=verb == "remove")
    _require_added(version)
    for kernel in _kernels(options.get("-k")):
        _build(version, kernel)
        if verb == "install":
            _install(version, kernel)
    return 0


def _parsed(arguments: list[str]) -> tuple[str, dict[str, str], list[str]]:
    options: dict[str, str] = {}
    names: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, has_value, value = word.partition("=")
        if name in TAKES_VALUE and (has_value or rest):
            options[TAKES_VALUE[name]] = value if has_value else rest.pop(0)
        elif not word.startswith("-"):
            names.append(word)
    return (names[0] if names else ""), options, names[1:]


def _version(options: dict[str, str], names: list[str]) -> str:
    """From `-m nvidia -v V`, `nvidia/V`, `nvidia -v V` or /usr/src/nvidia-V."""
    given = options.get("-v") or next((re.split(r"[/-]", n)[-1] for n in names), "")
    if not re.fullmatch(r"\d+(\.\d+)+", given):
        raise DkmsError(1, "Arguments <module> and <module-version> are not specified.")
    return given


def _source(version: str) -> str:
    return f"{paths.ROOT}/usr/src/nvidia-{version}"


def _add(version: str) -> int:
    if not os.path.exists(f"{_source(version)}/dkms.conf"):
        raise DkmsError(
            NO_SOURCE, f"Could not find module source directory.\nDirectory: {_source(version)}"
        )
    if os.path.isdir(f"{TREE}/nvidia/{version}"):
        raise DkmsError(3, f"DKMS tree already contains: nvidia/{version}")
    os.makedirs(f"{TREE}/nvidia/{version}")
    os.symlink(f"/usr/src/nvidia-{version}", f"{TREE}/nvidia/{version}/source")
    print(f"Creating symlink /var/lib/dkms/nvidia/{version}/source -> {_source(version)}")
    return 0


def _require_added(version: str) -> None:
    if not os.path.isdir(f"{TREE}/nvidia/{version}"):
        _add(version)


def _kernels(wanted: str | None) -> list[str]:
    """The one that is asked for, or every kernel with headers."""
    found = [wanted] if wanted else [k for k in disk.kernels() if disk.has_headers(k)]
    missing = wanted if wanted and not disk.has_headers(wanted) else None
    if missing or not found:
        raise DkmsError(NO_HEADERS, _no_headers(missing or paths.KERNEL))
    return found


def _no_headers(kernel: str) -> str:
    return (
        f"Your kernel headers for kernel {kernel} cannot be found at /lib/modules/{kernel}/build "
        f"or /lib/modules/{kernel}/source.\nPlease install the linux-headers-{kernel} package or "
        "use the --kernelsourcedir option to tell DKMS where it's located."
    )


def _built(version: str, kernel: str) -> str:
    return f"{TREE}/nvidia/{version}/{kernel}/x86_64/module"


def _build(version: str, kernel: str) -> None:
    if os.path.isdir(_built(version, kernel)):
        return
    _certificate()
    print(
        f"Building module:\nCleaning build area... done.\nBuilding module(s) for {kernel}", end=""
    )
    log = f"{TREE}/nvidia/{version}/build/make.log"
    if os.path.exists(f"{_source(version)}/FAILS"):
        os.makedirs(os.path.dirname(log), exist_ok=True)
        with open(log, "w", encoding="utf-8") as file:
            file.write("nvidia/nv.c:42:9: error: implicit declaration of function\n")
        print("(bad exit status: 2)")
        text = f"Bad return status for module build on kernel: {kernel} (x86_64)\n"
        raise DkmsError(BAD_BUILD, text + f"Consult {log.removeprefix(paths.ROOT)} for more.")
    os.makedirs(_built(version, kernel))
    print("... done.")


def _install(version: str, kernel: str) -> None:
    module: dict[str, Any] = {"version": version, "flavour": _flavour(version), "signed_by": "dkms"}
    if os.path.exists(f"{_source(version)}/NO_DEVICES"):
        module["no_devices"] = True
    disk.write_modules(kernel, _folder(), module)
    print(f"Installing to /lib/modules/{kernel}/{_folder()}/\ndepmod... done.")


def _folder() -> str:
    return "extra" if install.is_rpm(machine.read().hardware) else "updates/dkms"


def _flavour(version: str) -> str:
    with open(f"{_source(version)}/dkms.conf", encoding="utf-8") as file:
        found = re.search(r"^LAB_FLAVOUR=\"?(\w+)", file.read(), re.M)
    return found[1] if found else "proprietary"


def _certificate() -> None:
    """The key that modules are signed with; made once, at the first build."""
    path = secure_boot.certificate_of_dkms()
    if os.path.exists(path):
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    for name in (path, re.sub(r"\.(pub|der)$", lambda m: SECRET[m[1]], path)):
        with open(name, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32) + "\n")
    print(f"Certificate or key are missing, generating them.\nPublic certificate (MOK): {path}")


SECRET = {"pub": ".key", "der": ".priv"}


def _autoinstall(wanted: str | None) -> int:
    """Every added version; a kernel that fails does not keep the others from being served, and
    one without headers is passed over with a word and no error."""
    code = 0
    if wanted and not disk.has_headers(wanted):
        print(f"dkms: autoinstall for kernel {wanted} was skipped since the kernel headers for "
              "this kernel do not seem to be installed.")  # fmt: skip
        return 0
    for version in _versions():
        for kernel in [wanted] if wanted else filter(disk.has_headers, disk.kernels()):
            try:
                _build(version, kernel)
                _install(version, kernel)
            except DkmsError as error:
                print(f"Error! {error}", file=sys.stderr)
                code = 11
    return code


def _versions() -> list[str]:
    found = [os.path.basename(path) for path in glob.glob(f"{TREE}/nvidia/*")]
    return sorted(found, key=disk.version_key)


def _installed_file(version: str, kernel: str) -> str | None:
    path = f"{paths.MODULES}/{kernel}/{_folder()}/nvidia.ko"
    try:
        return path if disk.read_module(path)["version"] == version else None
    except (OSError, ValueError):
        return None


def _remove(version: str, wanted: str | None, forget: bool) -> int:
    if not os.path.isdir(f"{TREE}/nvidia/{version}"):
        raise DkmsError(NOT_ADDED, f"The module/version combo: nvidia-{version} is not located in "
                        "the DKMS tree.")  # fmt: skip
    for kernel in [wanted] if wanted else disk.kernels():
        if path := _installed_file(version, kernel):
            for name in disk.MODULE_FILES:
                os.unlink(f"{os.path.dirname(path)}/{name}.ko")
        shutil.rmtree(f"{TREE}/nvidia/{version}/{kernel}", ignore_errors=True)
    if forget and not wanted:
        shutil.rmtree(f"{TREE}/nvidia/{version}")
    return 0


def _status(options: dict[str, str], names: list[str]) -> int:
    wanted = options.get("-v") or next((n.split("/")[1] for n in names if "/" in n), None)
    for version in _versions():
        if wanted not in (None, version):
            continue
        lines = [line for k in disk.kernels() if (line := _line(version, k))]
        if options.get("-k"):
            lines = [line for line in lines if f", {options['-k']}, " in line]
        elif not lines:
            lines = [f"nvidia/{version}: added"]
        for line in lines:
            print(line)
    return 0


def _line(version: str, kernel: str) -> str | None:
    if not os.path.isdir(_built(version, kernel)):
        return None
    state = "installed" if _installed_file(version, kernel) else "built"
    return f"nvidia/{version}, {kernel}, x86_64: {state}"
