"""A user's own model is read from its GGUF header; damaged and hostile files are refused quickly."""

import struct
import time
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ollama_fleet.catalogue import GgufError, find_model, read_gguf
from ollama_fleet.vram import estimate

U32, U64, STRING, ARRAY = 4, 10, 8, 9
MAGIC = b"GGUF"


def write_model(path: Path, *, tied: bool = False, vocab: int = 512) -> Path:
    """A tiny Llama with a real layout: 2 layers, 4 heads, 2 KV heads."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(4096)
    writer.add_embedding_length(256)
    writer.add_feed_forward_length(512)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_file_type(int(gguf.LlamaFileType.MOSTLY_F16))
    writer.add_token_list([f"token {number}" for number in range(vocab)])
    writer.add_tensor("token_embd.weight", np.zeros((vocab, 256), dtype=np.float16))
    for layer in range(2):
        writer.add_tensor(f"blk.{layer}.ffn_up.weight", np.zeros((512, 256), dtype=np.float16))
    if not tied:
        writer.add_tensor("output.weight", np.zeros((vocab, 256), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def header(tensors: int, keys: int, rest: bytes = b"", version: int = 3) -> bytes:
    return MAGIC + struct.pack("<IQQ", version, tensors, keys) + rest


def test_a_file_becomes_a_model_that_can_be_estimated(good: Path) -> None:
    model = read_gguf(good, "mine:tiny")
    assert (model.layers, model.embedding, model.vocab, model.tied) == (2, 256, 512, False)
    assert model.full and model.full.kv_heads == 2 and model.full.key_length == 64
    assert model.quantisation == "F16"
    assert model.weight_bytes == 2 * (512 * 256 * 2) + 512 * 256 * 2
    assert model.file_bytes == good.stat().st_size
    assert estimate(model, context=4096).components["kv_cache"] == 2 * 2 * 128 * 4096 * 2 / 2**20


def test_a_tied_output_stays_on_the_gpu(tmp_path: Path) -> None:
    model = read_gguf(write_model(tmp_path / "tied.gguf", tied=True))
    assert model.tied and model.tag == "tied"
    assert model.weight_bytes == 3 * 512 * 256 * 2


def test_a_file_that_ends_early_is_refused_wherever_it_ends(good: Path, tmp_path: Path) -> None:
    whole, cut = good.read_bytes(), tmp_path / "cut.gguf"
    for end in [*range(0, 200), *range(200, len(whole), 997), len(whole) - 1]:
        cut.write_bytes(whole[:end])
        with pytest.raises(GgufError):
            read_gguf(cut)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "GGUF"),
        (b"GG", "GGUF"),
        (b"PK\x03\x04" + b"\x00" * 100, "does not begin"),
        (header(0, 0, version=1), "version 1"),
        (header(0, 0, version=3 << 24), "big-endian"),
        (header(10**6, 1), "1000000 tensors"),
        (header(2**64 - 1, 1), "tensors"),
        (header(1, 10**6), "1000000 keys"),
        (header(0, 1, struct.pack("<Q", 2**64 - 1)), "claims 18446744073709551615 bytes"),
        (header(0, 1, text("a") + struct.pack("<IQ", STRING, 2**63)), "claims"),
        (header(0, 1, text("a") + struct.pack("<IIQ", ARRAY, U32, 2**62)), "elements"),
        (header(0, 1, text("a") + struct.pack("<IIQ", ARRAY, U32, 10**6)), "truncated"),
        (header(0, 1, text("a") + struct.pack("<IIQQ", ARRAY, STRING, 1, 2**40)), "claims"),
        (header(0, 1, text("a") + struct.pack("<IIQ", ARRAY, ARRAY, 1)), "unknown type 9"),
        (header(0, 1, text("a") + struct.pack("<I", 99)), "unknown type 99"),
        (header(0, 2, 2 * (text("a") + struct.pack("<IQ", U64, 1))), "twice"),
        (header(1, 0, text("t") + struct.pack("<I", 2**31)), "dimensions"),
        (header(1, 0, text("t") + struct.pack("<IQQIQ", 2, 2**63, 2**63, 0, 0)), "impossible"),
        (header(1, 0, text("t") + struct.pack("<IQQIQ", 2, 0, 4, 0, 0)), "impossible"),
        (header(1, 0, text("t") + struct.pack("<IQIQ", 1, 32, 250, 0)), "unknown type 250"),
        (header(1, 0, text("t") + struct.pack("<IQIQ", 1, 33, 2, 0)), "no multiple"),
        (header(1, 0, text("t") + struct.pack("<IQIQ", 1, 2**40, 0, 0)), "ends at byte"),
        (header(1, 0, text("t") + struct.pack("<IQIQ", 1, 32, 0, 2**64 - 32)), "ends at byte"),
        (header(0, 0), "general.architecture"),
    ],
)
def test_an_absurd_file_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(GgufError, match=message):
        read_gguf(path)


def test_alignment_of_zero_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(header(0, 1, text("general.alignment") + struct.pack("<II", U32, 0)))
    with pytest.raises(GgufError, match="alignment"):
        read_gguf(path)


def claims_strings(path: Path, count: int) -> Path:
    """A sparse file of 100 MB that begins with so many empty strings."""
    with path.open("wb") as file:
        file.write(header(0, 1, text("a") + struct.pack("<IIQ", ARRAY, STRING, count)))
        file.truncate(100 * 2**20)
    return path


def test_millions_of_strings_cost_seconds_at_most(tmp_path: Path) -> None:
    path = claims_strings(tmp_path / "sparse.gguf", 1_900_000)
    start = time.perf_counter()
    with pytest.raises(GgufError):
        read_gguf(path)
    assert time.perf_counter() - start < 10


def test_a_large_header_is_not_held_in_memory(tmp_path: Path) -> None:
    path = claims_strings(tmp_path / "sparse.gguf", 200_000)
    tracemalloc.start()
    with pytest.raises(GgufError):
        read_gguf(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20


def test_a_folder_or_a_missing_file_is_an_error_in_words(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(GgufError, match="cannot be read"):
            read_gguf(path)


def test_one_part_of_several_is_refused(tmp_path: Path) -> None:
    keys = text("split.count") + struct.pack("<IH", 2, 4)
    path = tmp_path / "part.gguf"
    path.write_bytes(header(0, 1, keys))
    with pytest.raises(GgufError, match="one of 4 parts"):
        read_gguf(path)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 14_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_bytes_give_a_model_or_an_error_in_words(
    good: Path, tmp_path: Path, damage: list[tuple[int, int]]
) -> None:
    content = bytearray(good.read_bytes())
    for at, byte in damage:
        content[at] = byte
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content)
    try:
        model = read_gguf(path)
    except GgufError:
        return
    estimate(model, context=1)


def test_a_catalogue_model_is_not_touched_by_a_file_of_its_name(good: Path) -> None:
    assert read_gguf(good, "qwen3:8b").layers == 2
    assert find_model("qwen3:8b").layers == 36
