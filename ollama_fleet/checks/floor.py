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
    own = [item.seat.address] if item.seat else item.uuids
    gpus = subject.hardware.gpus
    names = [gpu.name for gpu in gpus if gpu.uuid in own or gpu.pci_bus_id in own]
    try:
        model = find_model(item.plan.models[0].removesuffix(":latest"))
        cards = [find_gpu(name) for name in names]
        # An instance has its part of the card's memory bandwidth.
        share = cards[0].mig_profile(item.seat.profile).memory_share if item.seat else 1.0
        speeds = [decode_speed(model, card, gpus=len(cards), share=share) for card in cards]
    except LookupError:
        return LEAST_TOKENS_PER_S
    lows = [speed.low_tokens_per_s for speed in speeds]
    return max(LEAST_TOKENS_PER_S, ALLOWANCE * min(lows, default=0.0))
