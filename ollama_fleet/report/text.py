"""Text from hosts and inventories as every report may show it: hostile until it went through here.

Escaping for a format (XML, HTML, Rich) is still that format's matter; this is what no format can hold.
"""

import re

# Control characters but tab and newline, halves of characters, what is no character, and marks that
# turn the direction of the text after them.
_UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)
_PICTURES = 0x2400
_UNKNOWN = "\ufffd"


def fit(text: object) -> str:
    """`text` with pictures (␀, ␛) in place of control characters, and � for what has none."""
    return _UNFIT.sub(_picture, str(text))


def one_line(text: object, longest: int = 0) -> str:
    """The same on one line; cut with … at `longest` characters where that is not 0."""
    words = " ".join(fit(text).split())
    return words if not longest or len(words) <= longest else words[: longest - 1] + "…"


def _picture(match: re.Match[str]) -> str:
    code = ord(match.group())
    return chr(_PICTURES + code) if code < 0x20 else "␡" if code == 0x7F else _UNKNOWN
