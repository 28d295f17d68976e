"""Every metric of our own: its name, kind, labels and meaning. The scripts write by this table, and the
reference for users is made of it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One metric; `source` is whose file or program it comes from."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    help: str
    source: str = "ollama-metrics"


GPU = ("gpu", "uuid", "address", "name")

METRICS = (
    Metric("ollama_metrics_written_seconds", "gauge", (), "When these were written, in Unix time."),
    Metric("ollama_metrics_interval_seconds", "gauge", (), "Seconds between two of these looks."),
    Metric(
        "ollama_gpu_answers",
        "gauge",
        (),
        "Whether nvidia-smi answered in time: 0, and no GPU is known.",
    ),
    Metric("ollama_gpu_count", "gauge", (), "GPUs that nvidia-smi lists and that are not lost."),
    Metric("ollama_gpu_pci_count", "gauge", (), "NVIDIA GPUs on the PCI bus."),
    Metric(
        "ollama_gpu_lost", "gauge", GPU, "1: on the PCI bus, or once seen, and it does not answer."
    ),
    Metric("ollama_gpu_memory_total_bytes", "gauge", GPU, "Memory of the GPU."),
    Metric(
        "ollama_gpu_memory_used_bytes", "gauge", GPU, "Memory of it that is in use, by anybody."
    ),
    Metric(
        "ollama_gpu_utilization_ratio",
        "gauge",
        GPU,
        "Part of the time in which a kernel ran, 0 to 1.",
    ),
    Metric("ollama_gpu_temperature_celsius", "gauge", GPU, "Temperature of the chip."),
    Metric("ollama_gpu_power_watts", "gauge", GPU, "What it draws."),
    Metric("ollama_gpu_power_limit_watts", "gauge", GPU, "What it may draw."),
    Metric(
        "ollama_gpu_ecc_uncorrected_total",
        "counter",
        GPU,
        "Memory errors that could not be corrected since its driver was loaded.",
    ),
    Metric(
        "ollama_gpu_throttled",
        "gauge",
        (*GPU, "reason"),
        "1: slowed down for this reason: hw_slowdown, hw_thermal, hw_power_brake, sw_thermal, sw_power_cap.",
    ),
    Metric(
        "ollama_gpu_xid_total",
        "counter",
        GPU,
        "Faults (Xid) that the driver logged since the boot.",
    ),
    Metric("ollama_slice_up", "gauge", ("slice",), "Whether its unit is active."),
    Metric(
        "ollama_slice_serving",
        "gauge",
        ("slice",),
        "Whether it is up, its API answers, and the health watch holds nothing against it.",
    ),
    Metric(
        "ollama_slice_restarts_total", "counter", ("slice",), "How often systemd started it anew."
    ),
    Metric(
        "ollama_slice_drained",
        "gauge",
        ("slice",),
        "1: taken out of service, by a person or a deploy.",
    ),
    Metric("ollama_slice_quarantined", "gauge", ("slice",), "1: given up by the watchdog."),
    Metric(
        "ollama_slice_memory_planned_bytes",
        "gauge",
        ("slice",),
        "GPU memory that the plan says its models take; absent where nobody knows.",
    ),
    Metric(
        "ollama_slice_memory_used_bytes",
        "gauge",
        ("slice",),
        "GPU memory that its processes hold, looked at once a minute; absent where the driver tells none.",
    ),
    Metric(
        "ollama_slice_model_loaded",
        "gauge",
        ("slice", "model"),
        "1: in memory; 0: planned for the slice, and not in memory.",
    ),
    Metric(
        "ollama_slice_model_kept",
        "gauge",
        ("slice", "model"),
        "1: loaded ahead and kept in memory for ever; 0: loaded when somebody asks it.",
    ),
    Metric(
        "ollama_slice_model_size_bytes",
        "gauge",
        ("slice", "model"),
        "What it takes, as Ollama says.",
    ),
    Metric(
        "ollama_slice_model_vram_bytes",
        "gauge",
        ("slice", "model"),
        "What of it is on GPUs, as Ollama says.",
    ),
    Metric(
        "ollama_watchdog_repairs_total",
        "counter",
        ("slice", "rung"),
        "Repairs by the watchdog: unload, restart, reset, quarantine.",
    ),
    Metric(
        "ollama_certificate_end_seconds",
        "gauge",
        ("certificate",),
        "When a certificate ends, in Unix time.",
        "ollama-certificates",
    ),
    Metric(
        "ollama_requests_total",
        "counter",
        ("model", "slice", "status"),
        "Requests that were answered; slice is empty where none was asked.",
        "ollama-mtail",
    ),
    Metric(
        "ollama_request_seconds",
        "histogram",
        ("model",),
        "From a request's first byte to the last of its answer.",
        "ollama-mtail",
    ),
    Metric(
        "ollama_first_byte_seconds",
        "histogram",
        ("model",),
        "Until a slice began to answer, waiting included: of a stream, the time to its first token.",
        "ollama-mtail",
    ),
    Metric(
        "ollama_tokens_total",
        "counter",
        ("model", "slice", "direction"),
        "Tokens of prompts (in) and answers (out).",
        "ollama-mtail",
    ),
)


def written_by(source: str) -> tuple[Metric, ...]:
    """Those of one writer."""
    return tuple(metric for metric in METRICS if metric.source == source)


def header_lines(source: str) -> list[str]:
    """Their HELP and TYPE lines, by which awk puts them before the first value of each."""
    return [f"{metric.name} {metric.kind} {metric.help}" for metric in written_by(source)]
