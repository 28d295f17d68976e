"""Shell that makes private keys on a machine and puts certificates in force there; pure text.

Keys are made in a folder that only root can read, beside their place, and moved with their certificate.
A private key is printed by nothing here; one of the user's comes on stdin.
"""

import base64
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from ollama_fleet.authority.places import Place
from ollama_fleet.authority.state import UNTOLD, Due

NEW = ".new"
_REQUEST = re.compile(
    r"^request (\S+)$\n(-----BEGIN CERTIFICATE REQUEST-----\n.*?-----END CERTIFICATE REQUEST-----)",
    re.S | re.M,
)
_FOLDER = """
getent group {group} >/dev/null ||
    fail 'there is no group {group}, which reads the keys of certificates; deploy the whole machine'
[ -d {folder} ] || install -d -m 2750 -o root -g {group} {folder} || fail 'cannot make {folder}'
"""
_FRESH = """
rm -rf {folder}/{new}
(umask 077 && mkdir {folder}/{new})
"""
_KEY = """
(umask 077 && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {key}) ||
    fail 'cannot make a private key in {folder} (is the disk full?)'
echo 'request {certificate}'
openssl req -new -key {key} -subj {subject}
"""


def key_steps(places: Sequence[Place]) -> list[str]:
    """Makes a key for each place, and prints a request for its certificate (see `read_requests`)."""
    needed = "command -v openssl >/dev/null || fail 'openssl is missing; install it'"
    return [needed, *_folders(places, fresh=True), *map(_key_step, places)]


def read_requests(output: str) -> dict[str, str]:
    """What `key_steps` printed: path of the certificate to its request."""
    return {found[1]: f"{found[2]}\n" for found in _REQUEST.finditer(output)}


def place_steps(
    dues: Sequence[Due], certificates: Mapping[str, str], keys: Mapping[str, str], trust: str
) -> list[str]:
    """Puts what is due in force, and has services reload that use it.

    `certificates` and `keys`: PEM by the path of the certificate; a key that lacks was made by
    `key_steps`. `trust`: the authorities whose certificates count.
    """
    places = [item.place for item in dues]
    sent = bool(keys) and not any(
        place.certificate in certificates.keys() - keys for place in places
    )
    steps = _folders(places, fresh=sent)
    for item in dues:
        steps.append(f"say {shlex.quote(f'{item.place.what}: {_words(item)}')}")
        steps.append(f"touch {item.place.folder}/{UNTOLD}")
        if item.anew:
            at = item.place.certificate
            steps += _pair_steps(item.place, certificates[at], keys.get(at))
        if item.place.trust:
            steps.append(_file_step(item.place.trust, trust, item.place.group))
        files = dict.fromkeys((item.place.certificate, item.place.key))
        steps.append(_closed(files, item.place.group))
    folders = dict.fromkeys(place.folder for place in places)
    units = dict.fromkeys(place.unit for place in places)
    return [
        *steps,
        *map(_reload, units),
        *(f"rm -rf {folder}/{NEW} {folder}/{UNTOLD}" for folder in folders),
    ]


def _words(item: Due) -> str:
    return "; ".join(item.reasons)


def _folders(places: Iterable[Place], fresh: bool) -> list[str]:
    text = _FOLDER + _FRESH if fresh else _FOLDER
    folders = {place.folder: place.group for place in places}
    return [text.format(folder=folder, group=group, new=NEW) for folder, group in folders.items()]


def _staged(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{NEW}/{name}"


def _key_step(place: Place) -> str:
    return _KEY.format(
        key=f"{_staged(place.certificate)}.made",
        folder=place.folder,
        certificate=place.certificate,
        subject=shlex.quote(f"/CN={place.leaf.common_name}"),
    )


def _pair_steps(place: Place, certificate: str, key: str | None) -> list[str]:
    """The key goes first: with a new certificate and an old key its service would not reload."""
    staged, made = _staged(place.certificate), f"{_staged(place.certificate)}.made"
    steps = [] if key is None else [_decoded(key, made)]
    steps.append(_decoded(certificate, staged))
    if place.key == place.certificate:
        return [
            *steps,
            f"(umask 077 && cat {made} >>{staged})",
            _closed([staged], place.group),
            _moved(staged, place.key),
        ]
    return [
        *steps,
        _closed([staged, made], place.group),
        _moved(made, place.key),
        _moved(staged, place.certificate),
    ]


def _file_step(path: str, text: str, group: str) -> str:
    staged = f"{path}.fleet-new"
    return f"{_decoded(text, staged)}\n{_closed([staged], group)}\n{_moved(staged, path)}"


def _decoded(text: str, path: str) -> str:
    content = base64.b64encode(text.encode()).decode()
    return (
        f"rm -f {path}\n(umask 077 && set -C && echo {content} | base64 -d >{path}) || "
        f"fail 'cannot write {path} (is the disk full?)'"
    )


def _closed(paths: Iterable[str], group: str) -> str:
    files = " ".join(paths)
    return f"chown root:{group} {files}\nchmod 0640 {files}"


def _moved(staged: str, path: str) -> str:
    return f"mv -fT {staged} {path}"


def _reload(unit: str) -> str:
    return f"""! systemctl is-active -q {unit} || systemctl reload {unit} || fail '{unit} does not \
reload with its new certificate and goes on with the old one; see `journalctl -u {unit}`'"""
