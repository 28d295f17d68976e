"""How fast a model answers: decode tokens per second by the bandwidth model. Imports the catalogue.

One token reads every active weight and the cache once, at a part of the card's bandwidth, and pays a
fixed time per layer: t = bytes / (eta × bandwidth) + layers × tau. Fitted on 22 points of GDDR cards
(median error 4.6 %) and 6 of A100 and H100 (3.7 %); on 24 newer points the median was 10.7 % and the
worst 47 %, which the bands below hold. Nothing here knows prompt processing: there is no measured
ground for a time to first token.
"""

from dataclasses import dataclass

from ollama_fleet.catalogue import ELEMENT_BYTES, Gpu, KvCache, Model

# Part of the maker's bandwidth that is reached, and seconds per layer.
ETA = {"gddr": 0.88, "unified": 0.88, "hbm": 0.58}
TAU_S = {"gddr": 85e-6, "unified": 85e-6, "hbm": 95e-6}
SMALL_B = 5.0
# (low, high) against the expected figure; the newer points missed by these.
BAND_DENSE, BAND_HBM = (0.80, 1.12), (0.75, 1.20)
BAND_SMALL, BAND_MIXTURE = (0.60, 1.10), (0.65, 1.10)
# Least tokens/s for 5, 4 and 3 of the guides' speed marks; 2 below.
MARKS = ((80, 5), (45, 4), (20, 3))


@dataclass(frozen=True)
class Speed:
    """Decode speed of one request alone; `low` is what verification may demand."""

    low_tokens_per_s: float
    tokens_per_s: float
    high_tokens_per_s: float
    formula: str

    @property
    def marks(self) -> int:
        """The guides' 2 to 5 speed marks, on the GPU in question."""
        return next((marks for least, marks in MARKS if self.tokens_per_s >= least), 2)

    def __str__(self) -> str:
        band = f"{self.low_tokens_per_s:.0f} to {self.high_tokens_per_s:.0f}"
        return f"{self.tokens_per_s:.0f} tokens/s ({band}): {self.formula}"


def decode_speed(
    model: Model,
    gpu: Gpu,
    *,
    gpus: int = 1,
    depth: int = 0,
    kv_cache: KvCache = "f16",
    share: float = 1.0,
) -> Speed:
    """Tokens per second of one request.

    + gpus: equal GPUs that the layers are split over; they work one after the other, so two cards
      hold more but answer no faster (70B: 16.3 measured on two 3090, 16.9 on four)
    + depth: tokens that are in the context already
    + share: part of the card's bandwidth, for a MIG slice its `memory_share`
    """
    active = active_bytes(model) + cache_bytes(model, depth, kv_cache)
    reached = ETA[gpu.memory] * gpu.bandwidth_gb_s * share
    layers_s = model.layers * TAU_S[gpu.memory]
    expected = 1 / (active / (reached * 1e9) + layers_s)
    low, high = _band(model, gpu)
    formula = (
        f"{active / 1e9:.2f} GB per token / {reached:.0f} GB/s "
        f"+ {model.layers} layers × {TAU_S[gpu.memory] * 1e6:.0f} µs"
    )
    if gpus > 1:
        formula += f"; {gpus} GPUs work in turn"
    return Speed(low * expected, expected, high * expected, formula)


def active_bytes(model: Model) -> float:
    """Weights that one token reads: all of a dense model, the used experts of a mixture."""
    if not model.mixture:
        return float(model.weight_bytes)
    table_b = 0.0 if model.tied else model.vocab * model.embedding / 1e9
    part = model.active_params_b / max(model.params_b - table_b, 1e-9)
    return model.weight_bytes * min(part, 1.0)


def cache_bytes(model: Model, depth: int, kv_cache: KvCache = "f16") -> float:
    """Cache and recurrent state that one token reads at a depth; windows end theirs."""
    elements = model.layers * model.mla_width * depth
    if model.full:
        elements += model.full.elements_per_cell * depth
    if model.local:
        elements += model.local.elements_per_cell * min(depth, model.local.window or depth)
    state = model.recurrent.bytes_per_sequence if model.recurrent else 0
    return elements * ELEMENT_BYTES[kv_cache] + state


def _band(model: Model, gpu: Gpu) -> tuple[float, float]:
    """How far the truth may be: mixtures and small models fall short of their bandwidth."""
    if model.mixture:
        low, high = BAND_MIXTURE
    elif model.params_b < SMALL_B:
        low, high = BAND_SMALL
    else:
        low, high = BAND_HBM if gpu.memory == "hbm" else BAND_DENSE
    return (min(low, BAND_HBM[0]), max(high, BAND_HBM[1])) if gpu.memory == "hbm" else (low, high)
