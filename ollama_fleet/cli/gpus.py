"""`fleet gpus`: the GPUs that the catalogue knows."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ollama_fleet.cli.ending import JsonOption, answering, print_json

if TYPE_CHECKING:
    from ollama_fleet.catalogue import Gpu


def gpus(
    name: Annotated[
        str, typer.Argument(metavar="[FILTER]", help="Words of a name, such as 3090 or 'A100 80'.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """List GPUs with their memory, compute capability, bandwidth and MIG profiles.

    A filter that no name contains ends with exit code 2 and the nearest names.

    JSON: gpus, a list; per GPU name, vram_mib, usable_mib, compute_capability, architecture,
    bandwidth_gb_s, memory, nvlink and mig (profile to MiB).
    """
    with answering(json):
        found = _found(name)
        if json:
            print_json({"gpus": [_row(gpu) for gpu in found]})
        else:
            from ollama_fleet.report.catalogue_tables import print_gpus

            print_gpus(found)


def _found(name: str) -> "list[Gpu]":
    from ollama_fleet.catalogue import all_gpus, find_gpu

    words = name.lower().split()
    found = [gpu for gpu in all_gpus() if all(word in gpu.name.lower() for word in words)]
    # A spelling that no name contains, such as RTX3090 or A100 40GB; raises with the nearest names.
    return found or [find_gpu(name)]


def _row(gpu: "Gpu") -> dict[str, Any]:
    return {
        "name": gpu.name,
        "vram_mib": gpu.vram_mib,
        "usable_mib": gpu.usable_mib,
        "compute_capability": gpu.compute_capability,
        "architecture": gpu.architecture,
        "bandwidth_gb_s": gpu.bandwidth_gb_s,
        "memory": gpu.memory,
        "nvlink": gpu.nvlink,
        "mig": {profile.name: profile.memory_mib(gpu) for profile in gpu.mig_profiles},
        "confidence": gpu.confidence,
        "note": gpu.note,
    }
