"""How much GPU memory a model takes: one formula per function, each with its source.

`estimate(model, context=…)` answers with every component and its arithmetic; `largest_context` is
the reverse. Pure; may import the catalogue only. tests/unit/test_vram_measured.py holds it against
what people really saw.
"""

from ollama_fleet.catalogue import KvCache
from ollama_fleet.vram.ask import EstimateError
from ollama_fleet.vram.batch import automatic_batch, predicted_mib
from ollama_fleet.vram.estimate import estimate
from ollama_fleet.vram.fit import largest_context
from ollama_fleet.vram.graph import Engine
from ollama_fleet.vram.result import FIT_TARGET_MIB, Estimate, GpuShare, Term

__all__ = [
    "FIT_TARGET_MIB",
    "Engine",
    "Estimate",
    "EstimateError",
    "GpuShare",
    "KvCache",
    "Term",
    "automatic_batch",
    "estimate",
    "largest_context",
    "predicted_mib",
]
