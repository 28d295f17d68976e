"""Builds the lab's model registry: tiny real GGUF files that say how big they pretend to be.

Owns what `v2/library/…` holds; knows no mirror host and imports nothing of the stand-in.
"""

import hashlib
import json
import os
import tempfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

TABLE = Path(__file__).with_name("models.yml")
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_PREFIX = "application/vnd.ollama.image."
F32_FILE_TYPE = 0

# What the file really holds: as small as a llama can be and still be loaded by a real server.
LAYERS, WIDTH, HEADS, KV_HEADS, FFN_WIDTH = 2, 64, 4, 2, 128
VOCABULARY = 300
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # token types of the GGUF format

TEMPLATE = """{{- if .System }}{{ .System }}
{{ end }}{{ if .Tools }}{{ .Tools }}
{{ end }}{{ .Prompt }}
{{ .Response }}"""
LICENSE = "Random weights made for the lab. No model of that name is in this file.\n"
PARAMETERS = {"temperature": 0.6}


class LabModel(BaseModel):
    """One row of models.yml: what a model pretends to be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str
    parameters: str
    quantization: str
    weight_bytes: int
    active_weight_bytes: int | None = None
    kv_bytes_per_token: int
    context_max: int
    capabilities: list[str]
    dimensions: dict[str, int]


@dataclass(frozen=True)
class Layer:
    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.content).hexdigest()

    def as_json(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}


def load_table(path: Path = TABLE) -> dict[str, LabModel]:
    """The rows by tag."""
    rows = yaml.safe_load(path.read_text())
    return {tag: LabModel.model_validate(row) for tag, row in rows.items()}


def build_registry(destination: Path, table: dict[str, LabModel] | None = None) -> list[str]:
    """Write every model under destination/v2/library and return the tags.

    Files that are there already are left alone; a manifest appears after all of its blobs.
    """
    models = load_table() if table is None else table
    written: dict[str, Path] = {}
    for tag, model in models.items():
        name, _, version = tag.partition(":")
        folder = destination / "v2" / "library" / name
        layers = _layers(tag, model)
        config = Layer(CONFIG_TYPE, _config(model, layers))
        for layer in (*layers, config):
            path = folder / "blobs" / layer.digest
            _write(path, layer.content, written.setdefault(layer.digest, path))
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.as_json(),
            "layers": [layer.as_json() for layer in layers],
        }
        path = folder / "manifests" / (version or "latest")
        _write(path, json.dumps(manifest, separators=(",", ":")).encode(), path)
    return list(models)


def _layers(tag: str, model: LabModel) -> list[Layer]:
    texts = {
        "template": TEMPLATE.encode(),
        "license": LICENSE.encode(),
        "params": json.dumps(PARAMETERS).encode(),
    }
    weights = Layer(LAYER_PREFIX + "model", make_gguf(tag, model))
    return [weights, *(Layer(LAYER_PREFIX + kind, text) for kind, text in texts.items())]


def _config(model: LabModel, layers: list[Layer]) -> bytes:
    document = {
        "model_format": "gguf",
        "model_family": model.architecture,
        "model_families": [model.architecture],
        "model_type": model.parameters,
        "file_type": model.quantization,
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def make_gguf(tag: str, model: LabModel) -> bytes:
    """A valid GGUF file with random weights, the same for the same tag."""
    import gguf  # brings numpy: only for those who build

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        _add_pretence(writer, model)
        _add_dimensions(writer, tag, model)
        _add_vocabulary(writer)
        _add_tensors(writer, zlib.crc32(tag.encode()))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _add_pretence(writer: Any, model: LabModel) -> None:
    """The keys that the stand-in reads and a real server ignores."""
    architecture = model.architecture
    dimensions = {**model.dimensions, "context_length": model.context_max}
    info = {
        "general.architecture": architecture,
        "general.size_label": model.parameters,
        **{f"{architecture}.{key}": value for key, value in dimensions.items()},
    }
    writer.add_uint64("lab.weight_bytes", model.weight_bytes)
    writer.add_uint64("lab.active_weight_bytes", model.active_weight_bytes or model.weight_bytes)
    writer.add_uint64("lab.kv_bytes_per_token", model.kv_bytes_per_token)
    writer.add_string("lab.capabilities", ",".join(model.capabilities))
    writer.add_string("lab.model_info", json.dumps(info))


def _add_dimensions(writer: Any, tag: str, model: LabModel) -> None:
    writer.add_name(tag)
    writer.add_file_type(F32_FILE_TYPE)
    writer.add_context_length(model.context_max)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN_WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(VOCABULARY)
    if "embedding" in model.capabilities:
        writer.add_uint32("llama.pooling_type", 1)


def _add_vocabulary(writer: Any) -> None:
    """Byte tokens make any prompt tokenisable."""
    special = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
    single = [(f"<0x{value:02X}>", BYTE) for value in range(256)]
    words = [(f"▁w{number}", NORMAL) for number in range(VOCABULARY - len(special) - len(single))]
    tokens = special + single + words
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_scores([-float(number) for number in range(len(tokens))])
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


@cache
def _shapes() -> dict[str, tuple[int, ...]]:
    kv_width = WIDTH // HEADS * KV_HEADS
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (VOCABULARY, WIDTH),
        "output_norm.weight": (WIDTH,),
        "output.weight": (VOCABULARY, WIDTH),
    }
    for number in range(LAYERS):
        block = {
            "attn_norm": (WIDTH,),
            "ffn_norm": (WIDTH,),
            "attn_q": (WIDTH, WIDTH),
            "attn_k": (kv_width, WIDTH),
            "attn_v": (kv_width, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "ffn_gate": (FFN_WIDTH, WIDTH),
            "ffn_up": (FFN_WIDTH, WIDTH),
            "ffn_down": (WIDTH, FFN_WIDTH),
        }
        shapes |= {f"blk.{number}.{name}.weight": shape for name, shape in block.items()}
    return shapes


def _add_tensors(writer: Any, seed: int) -> None:
    import numpy

    source = numpy.random.default_rng(seed)
    for name, shape in _shapes().items():
        writer.add_tensor(name, source.standard_normal(shape, dtype=numpy.float32) * 0.05)


def _write(path: Path, content: bytes, same: Path) -> None:
    """Put the content at the path unless it is there; a hard link where the same file exists."""
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    staged = Path(name)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    if same != path:
        staged.unlink()
        os.link(same, staged)
    staged.chmod(0o644)
    staged.replace(path)
