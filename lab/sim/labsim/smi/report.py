"""`nvidia-smi -q` and `-q -x`: one tree of (label, XML tag, value), printed in two ways."""

from __future__ import annotations

import time

from . import exits
from .report_gpu import gpu_items
from .report_items import Item
from .view import Gpu, Host

LABEL_WIDTH = 50
DTD = "nvsmi_device_v12.dtd"


SECTIONS = {
    "MEMORY": ("FB Memory Usage",),
    "UTILIZATION": ("Utilization",),
    "ECC": ("ECC Mode", "ECC Errors"),
    "TEMPERATURE": ("Temperature",),
    "POWER": ("GPU Power Readings",),
    "CLOCK": ("Clocks", "Max Clocks"),
    "COMPUTE": ("Compute Mode",),
    "PERFORMANCE": ("Performance State", "Clocks Event Reasons"),
    "ROW_REMAPPER": ("Remapped Rows",),
    "PIDS": ("Processes",),
}


def show(host: Host, wanted: str | None, xml: bool, sections: str | None = None) -> int:
    gpus, labels = host.select(wanted), _labels(sections)
    print(_as_xml(host, gpus) if xml else _as_text(host, gpus, labels))
    return exits.OK


def _labels(sections: str | None) -> set[str] | None:
    """What -d leaves of the text report; the XML is always whole."""
    names = [] if sections is None else [name.strip().upper() for name in sections.split(",")]
    for name in names:
        if name not in SECTIONS:
            raise exits.invalid_option(f"-d {name}")
    return {label for name in names for label in SECTIONS[name]} or None


def _head(host: Host) -> list[Item]:
    return [
        ("Timestamp", "timestamp", time.strftime("%a %b %e %H:%M:%S %Y")),
        ("Driver Version", "driver_version", host.driver_version),
        ("CUDA Version", "cuda_version", host.cuda_version),
        ("Attached GPUs", "attached_gpus", str(len(host.gpus))),
    ]


def _as_xml(host: Host, gpus: list[Gpu]) -> str:
    lines = ['<?xml version="1.0" ?>', f'<!DOCTYPE nvidia_smi_log SYSTEM "{DTD}">']
    lines += ["<nvidia_smi_log>", *_xml_lines(_head(host), 1)]
    for gpu in gpus:
        lines += [f'\t<gpu id="{gpu.bus_id}">', *_xml_lines(gpu_items(gpu), 2), "\t</gpu>"]
    return "\n".join([*lines, "</nvidia_smi_log>"])


def _xml_lines(items: list[Item], depth: int) -> list[str]:
    lines: list[str] = []
    indent = "\t" * depth
    for _, tag, value in items:
        if not tag:
            continue
        if isinstance(value, list):
            lines += [f"{indent}<{tag}>", *_xml_lines(value, depth + 1), f"{indent}</{tag}>"]
        else:
            lines.append(f"{indent}<{tag}>{_xml_text(value)}</{tag}>")
    return lines


def _xml_text(text: str) -> str:
    """Numbers that the text report writes as 0x17 stand bare in the XML."""
    return text.removeprefix("0x").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _as_text(host: Host, gpus: list[Gpu], labels: set[str] | None) -> str:
    lines = ["", "==============NVSMI LOG==============", "", *_text_lines(_head(host)[:3], 0), ""]
    lines += _text_lines(_head(host)[3:], 0)
    for gpu in gpus:
        items = [item for item in gpu_items(gpu) if labels is None or item[0] in labels]
        lines += [f"GPU {gpu.bus_id}", *_text_lines(items, 1), ""]
    return "\n".join(lines)


def _text_lines(items: list[Item], depth: int) -> list[str]:
    lines: list[str] = []
    indent = "    " * depth
    for label, _, value in items:
        if isinstance(value, list) and value:
            lines += [indent + label, *_text_lines(value, depth + 1)]
        elif label:
            text = value if isinstance(value, str) else "None"
            lines.append(f"{indent + label:<{LABEL_WIDTH}}: {text}")
    return lines
