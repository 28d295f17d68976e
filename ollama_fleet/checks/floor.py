"""How many tokens per second a slice must reach: the speed estimate's low end, halved.

The estimate holds for one request alone on the whole card; verification asks every slice of a host at
once, for a few tokens. Half of its low end still tells a GPU from a CPU, which is five to twenty times
slower. Models and GPUs that the catalogue does not know get `LEAST_TOKENS_PER_S`.
"""

from ollama_fleet.catalogue import find_gpu, find_model
from ollama_fleet.checks.model import Subject
from ollama_fleet.planner.plan import BoundSlice
from ollama_fleet.speed import decode_speed

LEAST_TOKENS_PER_S = 3.0
ALLOWANCE = 0.5


def speed_floor(subject: Subject, item: BoundSlice) -> float:
    """Tokens per second that the first model of a slice must reach on its slowest GPU."""
    names = [gpu.name for gpu in subject.hardware.gpus if gpu.uuid in item.uuids]
    try:
        model = find_model(item.plan.models[0].removesuffix(":latest"))
        lows = [
            decode_speed(model, find_gpu(name), gpus=len(names)).low_tokens_per_s for name in names
        ]
    except LookupError:
        return LEAST_TOKENS_PER_S
    return max(LEAST_TOKENS_PER_S, ALLOWANCE * min(lows, default=0.0))
