"""Attention over an image's soft tokens, live beside transformers' own (eager attention, every layer and head)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gemlet
import tokenizer_json_files
from chat_cases import TEMPLATE, vocabulary
from gemlet.model.explaining import words_of
from load_tool import maker

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("jinja2")

from test_folder_parity import E2B, LARGE, NO_TABLE, randomise  # noqa: E402
from test_media_parity import QUESTION, bill, model_of, processor_of  # noqa: E402

ANSWER = "an and the total"


@pytest.mark.parametrize("name", ["E2B", "31B"])
def test_maps_are_the_mean_of_its_attentions(tmp_path: Path, name: str) -> None:
    torch.set_num_threads(1)
    sizes = E2B if name == "E2B" else LARGE | NO_TABLE | maker("make_soft").BOTH_WAYS
    model = model_of(sizes)
    randomise(model, 3)
    model.save_pretrained(tmp_path)
    tokens, merges = vocabulary()
    tokenizer_json_files.write(tmp_path, tokenizer_json_files.document(tokens, merges))
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    image = bill(tmp_path / "bill.png")
    messages = [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": QUESTION}]}]
    inputs = processor_of(tmp_path).apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
        processor_kwargs={"images_kwargs": {"max_soft_tokens": 70}},
    )  # fmt: skip
    with gemlet.load(tmp_path, threads=2) as ours:
        made = ours.explain_image(QUESTION, images=[tmp_path / "bill.png"], image_tokens=70, answer=ANSWER)
        answer = ours.tokenize(ANSWER, add_bos=False)
        prompt = inputs["input_ids"].shape[1]
        ids = torch.cat([inputs["input_ids"], torch.from_numpy(answer.astype(np.int64))[None]], dim=1)
        types = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(answer)))
        with torch.no_grad():
            out = model(
                input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=types,
                pixel_values=inputs["pixel_values"], image_position_ids=inputs["image_position_ids"],
                output_attentions=True,
            )  # fmt: skip
        pieces = [ours._engine.tokenizer.piece(int(i)) for i in answer]
    layers = [i for i, kind in enumerate(model.config.text_config.layer_types) if kind == "full_attention"]
    mean = torch.stack([out.attentions[i][0] for i in layers]).mean(dim=(0, 1)).numpy()
    seen = np.flatnonzero(ids[0].numpy() == model.config.image_token_id)
    looked = mean[prompt - 1 : -1][:, seen]
    expected = np.stack([looked[at].mean(axis=0) for _, at in words_of(pieces)])
    assert made.words == ANSWER.split()
    np.testing.assert_allclose(made.map.reshape(len(made.words), -1), expected, atol=2e-5)
    assert expected.max() > 1e-3
