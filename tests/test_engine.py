"""The compiled engine against transformers' golden answers, and its promise: the same bits however the work is cut."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemlet import _core
from gemlet.errors import BadFile, ContextOverflow, GemletError, UnsupportedModel

GOLDEN = Path(__file__).parent / "golden"
FLOAT_MODELS = ["gemma3_tiny", "gemma3_tiny_linear"]


def open_model(name: str, **options: Any) -> _core.Model:
    return _core.Model(str(GOLDEN / f"{name}.gguf"), **options)


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def greedy(model: _core.Model, ids: np.ndarray, count: int) -> dict[str, Any]:
    """All new ids, and the last event."""
    options = _core.GenerateOptions()
    options.temperature = 0
    options.max_tokens = count
    options.ignore_eos = True
    stream = model.generate(ids, options)
    new: list[int] = []
    while True:
        event = stream.next(1000)
        if event is None:
            continue
        if event["kind"] == "tokens":
            new += event["ids"]
        if event["kind"] == "end":
            return {"ids": new, **event}


@pytest.mark.parametrize("name", FLOAT_MODELS)
def test_logits_equal_transformers(name: str) -> None:
    golden = arrays(name)
    model = open_model(name)
    assert model.info()["kv_dtype"] == "f32"
    assert np.abs(model.logits(golden["ids"]) - golden["logits"]).max() <= 1e-4


@pytest.mark.parametrize("name", FLOAT_MODELS)
def test_hidden_states_equal_transformers(name: str) -> None:
    golden = arrays(name)
    model = open_model(name)
    layers = list(range(model.info()["layers"] + 1))
    assert np.abs(model.hidden(golden["ids"], layers) - golden["hidden"]).max() <= 1e-4


@pytest.mark.parametrize("name", [*FLOAT_MODELS, "gemma3_tiny_q8_0"])
def test_greedy_text_equals_transformers(name: str) -> None:
    golden = arrays(name)
    answer = greedy(open_model(name, compute="float32", kv_dtype="f32"), golden["ids"], len(golden["greedy"]))
    np.testing.assert_array_equal(answer["ids"], golden["greedy"])
    assert answer["finish_reason"] == "length"
    assert answer["prompt_tokens"] == len(golden["ids"])


def test_quantised_weights_in_float32_equal_the_dequantised_ones() -> None:
    golden = arrays("gemma3_tiny_q8_0")
    positions = np.arange(len(golden["ids"]) - 40, len(golden["ids"]))
    model = open_model("gemma3_tiny_q8_0", compute="float32", kv_dtype="f32")
    assert np.abs(model.logits(golden["ids"], positions) - golden["logits"]).max() <= 1e-4


@pytest.mark.parametrize("isa", _core.isas())
def test_every_instruction_set_gives_the_same_bits(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = arrays("gemma3_tiny_q8_0")["ids"]
    monkeypatch.setenv("GEMLET_ISA", isa)
    model = open_model("gemma3_tiny_q8_0")
    assert model.info()["isa"] == isa
    monkeypatch.setenv("GEMLET_ISA", "scalar")
    np.testing.assert_array_equal(model.logits(ids), open_model("gemma3_tiny_q8_0").logits(ids))


@pytest.mark.parametrize("name", [*FLOAT_MODELS, "gemma3_tiny_q8_0"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_prefill_and_one_by_one_are_bit_equal(name: str, threads: int) -> None:
    """Row i of one long read, the last row of a read of i + 1 tokens, and decoding token by token: one answer."""
    ids = arrays(name)["ids"]
    whole = open_model(name, threads=1).logits(ids)
    model = open_model(name, threads=threads)
    for end in [1, 2, 7, 16, 17, 33, len(ids)]:
        np.testing.assert_array_equal(model.logits(ids[:end], np.array([end - 1]))[0], whole[end - 1])
    start = len(ids) - 20
    answer = greedy(model, ids[:start], 20)["ids"]
    again = np.concatenate([ids[:start], answer]).astype(np.int32)
    following = model.logits(again, np.arange(start - 1, len(again) - 1)).argmax(-1)
    np.testing.assert_array_equal(following, answer)


@pytest.mark.parametrize("name", [*FLOAT_MODELS, "gemma3_tiny_q8_0"])
@pytest.mark.parametrize("block", [1, 2, 3, 15, 16, 17, 63, 64, 65])
def test_any_chunking_gives_the_same_bits(name: str, block: int) -> None:
    ids = arrays(name)["ids"]
    whole, cut = open_model(name), open_model(name, block=block)
    np.testing.assert_array_equal(cut.logits(ids), whole.logits(ids))
    layers = [0, whole.info()["layers"] - 1, whole.info()["layers"]]
    np.testing.assert_array_equal(cut.hidden(ids, layers), whole.hidden(ids, layers))
    np.testing.assert_array_equal(cut.score(ids), whole.score(ids))
    assert greedy(cut, ids, 8)["ids"] == greedy(whole, ids, 8)["ids"]


@pytest.mark.parametrize("name", ["gemma3_tiny", "gemma3_tiny_q8_0"])
def test_prompts_longer_than_a_block(name: str) -> None:
    """1,300 tokens are read in three blocks; a row's logits do not depend on where the blocks were cut."""
    rng = np.random.default_rng(5)
    ids = rng.integers(4, 262, 1300).astype(np.int32)
    model = open_model(name)
    context = model.info()["context"]
    ids = ids[:context]
    positions = np.array([511, 512, 513, len(ids) - 1])
    rows = model.logits(ids, positions[positions < len(ids)])
    for row, position in zip(rows, positions, strict=False):
        np.testing.assert_array_equal(model.logits(ids[: position + 1], np.array([position]))[0], row)


def test_positions_in_any_order_and_more_than_once() -> None:
    ids = arrays("gemma3_tiny")["ids"]
    model = open_model("gemma3_tiny")
    whole = model.logits(ids)
    positions = np.array([5, 5, 99, 0, 5, 2])
    np.testing.assert_array_equal(model.logits(ids, positions), whole[positions])
    np.testing.assert_array_equal(model.logits(ids[:2], np.array([0, 0])), whole[[0, 0]])
    assert model.logits(ids, np.array([], np.int64)).shape == (0, 320)


def test_scores_are_the_log_softmax() -> None:
    golden = arrays("gemma3_tiny")
    ids, logits = golden["ids"], golden["logits"].astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    expected = (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))[np.arange(len(ids) - 1), ids[1:]]
    model = open_model("gemma3_tiny")
    np.testing.assert_allclose(model.score(ids), expected, atol=1e-4)
    np.testing.assert_array_equal(model.score(ids, 60), model.score(ids)[59:])


def test_threads_share_one_model() -> None:
    golden = arrays("gemma3_tiny")
    model = open_model("gemma3_tiny", threads=2)
    expected = greedy(model, golden["ids"], 24)["ids"]
    whole = model.logits(golden["ids"])
    wrong: list[str] = []

    def work(number: int) -> None:
        for _ in range(5):
            if number % 2 and greedy(model, golden["ids"], 24)["ids"] != expected:
                wrong.append("text")
            if not number % 2 and not np.array_equal(model.logits(golden["ids"]), whole):
                wrong.append("logits")

    workers = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_cancel_ends_with_what_there_is() -> None:
    model = open_model("gemma3_tiny")
    options = _core.GenerateOptions()
    options.temperature = 0
    options.max_tokens = 1_000_000
    options.ignore_eos = True
    stream = model.generate(arrays("gemma3_tiny")["ids"], options)
    seen = 0
    while True:
        event = stream.next(1000)
        if event is None:
            continue
        if event["kind"] == "end":
            break
        seen += 1
        if seen == 3:
            stream.cancel()
    assert event["finish_reason"] in ("cancelled", "length")
    assert event["completion_tokens"] >= 3


def test_models_come_and_go_while_work_is_under_way() -> None:
    """Dropped models and streams end their thread without a hang, whoever lets go last."""
    ids = arrays("gemma3_tiny")["ids"]
    for _ in range(30):
        model = open_model("gemma3_tiny", threads=2)
        options = _core.GenerateOptions()
        options.max_tokens = 10_000
        options.ignore_eos = True
        stream = model.generate(ids, options)
        stream.next(1000)
        del model
        del stream


def test_closed_model_says_so() -> None:
    model = open_model("gemma3_tiny")
    model.close()
    with pytest.raises(GemletError, match="closed"):
        model.logits(np.array([2], np.int32))
    model.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_gets_an_error() -> None:
    model = open_model("gemma3_tiny")
    child = os.fork()
    if child == 0:
        try:
            model.logits(np.array([2], np.int32))
            os._exit(1)
        except GemletError as error:
            os._exit(0 if "fork" in str(error) else 2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_memory_of_sliding_layers_is_bounded() -> None:
    """gemma3_tiny keeps a window of 16 in six of seven layers: a long text holds pages for the one full layer only."""
    model = open_model("gemma3_tiny")
    length = model.info()["context"]
    options = _core.GenerateOptions()
    options.max_tokens = 1
    options.ignore_eos = True
    stream = model.generate(np.full(length, 7, np.int32), options)
    event: dict[str, Any] | None = None
    while event is None or event["kind"] != "end":
        event = stream.next(1000)
    page = 2 * 64 * model.info()["kv_heads"] * model.info()["head_dim"] * 4
    full = -(-length // 64)
    held = model.memory()["kv_cache"] / page
    assert full <= held <= full + 6 * (2 + 512 // 64), (held, full)


def test_errors_name_the_thing() -> None:
    model = open_model("gemma3_tiny")
    with pytest.raises(ValueError, match=r"ids\[1\]: 320 is outside the vocabulary, 0 to 319"):
        model.logits(np.array([2, 320], np.int32))
    with pytest.raises(ValueError, match="at least one token"):
        model.logits(np.array([], np.int32))
    with pytest.raises(ValueError, match="layers: 9"):
        model.hidden(np.array([2], np.int32), [9])
    with pytest.raises(ValueError, match="positions: 1"):
        model.logits(np.array([2], np.int32), np.array([1]))
    with pytest.raises(ContextOverflow, match="do not fit the context"):
        model.logits(np.full(model.info()["context"] + 1, 2, np.int32))
    with pytest.raises(ValueError, match="context: expected 1 to"):
        open_model("gemma3_tiny", context=1 << 40)
    with pytest.raises(ValueError, match="kv_dtype"):
        open_model("gemma3_tiny", kv_dtype="q4_0")


def edited(tmp_path: Path, edit: Any) -> str:
    """gemma3_tiny written anew by the gguf package, after `edit(metadata, tensors)`."""
    gguf = pytest.importorskip("gguf")
    reader = gguf.GGUFReader(GOLDEN / "gemma3_tiny.gguf")
    metadata = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    architecture = edit(metadata, tensors) or "gemma3"
    path = tmp_path / "edited.gguf"
    writer = gguf.GGUFWriter(path, architecture)
    for key, field in metadata.items():
        if key == "general.architecture":
            continue
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), kind, sub)
    for name, data in tensors.items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"architecture 'llama'.*gemma3"):
        _core.Model(edited(tmp_path, lambda metadata, tensors: "llama"))


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"blk\.3\.attn_k\.weight.*missing"):
        _core.Model(edited(tmp_path, lambda metadata, tensors: tensors.pop("blk.3.attn_k.weight") is None))


def test_a_wrong_shape_is_named(tmp_path: Path) -> None:
    def edit(metadata: Any, tensors: Any) -> None:
        tensors["blk.2.ffn_up.weight"] = tensors["blk.2.ffn_up.weight"][:-8]

    with pytest.raises(BadFile, match=r"blk\.2\.ffn_up\.weight.*expected \(64, 32\), got \(56, 32\)"):
        _core.Model(edited(tmp_path, edit))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"gemma3\.embedding_length"):
        _core.Model(edited(tmp_path, lambda metadata, tensors: metadata.pop("gemma3.embedding_length") is None))
