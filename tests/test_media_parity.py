"""Whole conversations with an image beside transformers: its processor's ids, its tower's rows, its greedy answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gemlet
import tokenizer_json_files
from chat_cases import TEMPLATE, vocabulary
from load_tool import maker

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("PIL")
pytest.importorskip("jinja2")

from test_folder_parity import E2B, LARGE, NO_TABLE, randomise  # noqa: E402

TOWER = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 12, "position_embedding_size": 256,
}  # fmt: skip
QUESTION = "Read the total"
STEPS = 8


def ids_of() -> dict[str, int]:
    return {piece: i for i, (piece, _) in enumerate(vocabulary()[0])}


def model_of(sizes: dict[str, Any]) -> Any:
    ids = ids_of()
    size = len(ids)
    own = {"vocab_size": size, "max_position_embeddings": 2048}
    own |= {"vocab_size_per_layer_input": size} if "vocab_size_per_layer_input" in sizes else {}
    config = transformers.Gemma4Config(
        text_config=sizes | own,
        vision_config=TOWER | {"standardize": "vocab_size_per_layer_input" not in sizes},
        image_token_id=ids["<|image|>"],
        boi_token_id=ids["<|image>"],
        eoi_token_id=ids["<image|>"],
        audio_token_id=ids["<|audio|>"],
        video_token_id=ids["<|video|>"],
        attn_implementation="eager",
        experts_implementation="eager",
    )
    return transformers.Gemma4ForConditionalGeneration(config).eval().float()


class Processor(transformers.Gemma4Processor):
    """Without films, whose processor needs another package."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        return None


class NoFilms:
    model_input_names: list[str] = []  # noqa: RUF012


def processor_of(folder: Path) -> Any:
    from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
    from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

    marks = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>",
             "audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"}  # fmt: skip
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), bos_token="<bos>", eos_token="<eos>", pad_token="<pad>",
        unk_token="<unk>", extra_special_tokens=marks,
    )  # fmt: skip
    return Processor(
        feature_extractor=Gemma4AudioFeatureExtractor(), image_processor=Gemma4ImageProcessorPil(),
        tokenizer=tokenizer, video_processor=NoFilms(), chat_template=TEMPLATE,
    )  # fmt: skip


def bill(path: Path) -> Any:
    """Letters and rules on paper, with a margin that makes the sides odd."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (211, 337), (250, 248, 240))
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(("Bread 3.20", "Milk 1.15", "Tea 4.00", "Total 8.35")):
        draw.text((17, 30 + 60 * i), line, fill=(20 + 40 * i, 20, 60))
        draw.line((10, 70 + 60 * i, 190, 70 + 60 * i), fill=(120, 120, 120), width=2)
    image.save(path)
    return image


@pytest.mark.parametrize("name", ["E2B", "31B"])
@pytest.mark.parametrize("image_tokens", [70, 280])
def test_a_question_about_an_image(tmp_path: Path, name: str, image_tokens: int) -> None:
    torch.set_num_threads(1)
    sizes = E2B if name == "E2B" else LARGE | NO_TABLE | maker("make_soft").BOTH_WAYS
    model = model_of(sizes)
    randomise(model, 1)
    model.save_pretrained(tmp_path)
    tokens, merges = vocabulary()
    tokenizer_json_files.write(tmp_path, tokenizer_json_files.document(tokens, merges))
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    image = bill(tmp_path / "bill.png")
    messages = [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": QUESTION}]}]
    inputs = processor_of(tmp_path).apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
        processor_kwargs={"images_kwargs": {"max_soft_tokens": image_tokens}},
    )  # fmt: skip
    with torch.no_grad():
        rows = model.model.get_image_features(inputs["pixel_values"], inputs["image_position_ids"], return_dict=True)
        out = model.generate(
            **inputs, max_new_tokens=STEPS, do_sample=False, eos_token_id=None, output_scores=True,
            return_dict_in_generate=True,
        )  # fmt: skip
    expected = out.sequences[0, inputs["input_ids"].shape[1] :].numpy()
    best = torch.stack(out.scores)[:, 0].topk(2).values
    clear = int(((best[:, 0] - best[:, 1]) > 1e-2).int().cumprod(0).sum())  # up to where float32 could decide otherwise
    assert clear >= 2
    with gemlet.load(tmp_path, draft="off") as ours:
        soft = gemlet.SoftTokens(torch.cat(list(rows.pooler_output)).numpy())
        given = {"images": [soft]}
        np.testing.assert_array_equal(
            ours.apply_chat_template(QUESTION, **given, think=False), inputs["input_ids"][0].numpy()
        )
        asked = {"max_tokens": STEPS, "temperature": 0, "ignore_eos": True, "logit_bias": free(ours)}
        answer = ours.chat(QUESTION, **given, **asked)
        np.testing.assert_array_equal(answer.token_ids[:clear], expected[:clear])
        # And with our own eyes.
        own = ours.chat(QUESTION, images=[tmp_path / "bill.png"], image_tokens=image_tokens, **asked)
        np.testing.assert_array_equal(own.token_ids[:clear], expected[:clear])
        assert own.usage.image_tokens == answer.usage.image_tokens == len(soft)
        assert own.usage.prompt_tokens == inputs["input_ids"].shape[1]
        (warning,) = own.warnings
        assert warning.startswith("images[0]: resized from 211 x 337 to ")
        assert f"{len(soft)} tokens of a budget of {image_tokens}" in warning
        again = ours.chat(
            "And the tea?", images=[(tmp_path / "bill.png").read_bytes()], image_tokens=image_tokens, **asked
        )
        assert again.usage.cached_tokens > len(soft)  # the same picture by its content: neither encoded nor read again


def free(model: gemlet.Model) -> dict[int, float]:
    """Chat keeps some control tokens from being drawn; the reference does not."""
    return {i: 0.0 for i in range(model.vocab_size) if i < 0 or model._engine.tokenizer.piece(i, True)[:1] == b"<"}
