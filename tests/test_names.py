"""Names of models: what is one, which quant a file's name tells, and which file a quant means."""

from __future__ import annotations

import os.path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gemlet
from gemlet.local import names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/name", ("org/name", None, None)),
        ("hf.co/org/name:Q8_0", ("org/name", None, "Q8_0")),
        ("https://huggingface.co/org/na.me-1_b/", ("org/na.me-1_b", None, None)),
        ("https://huggingface.co/org/name/tree/v1", ("org/name", "v1", None)),
        ("org/name@refs/pr/1:q4_k_m", ("org/name", "refs/pr/1", "q4_k_m")),
        *((wrong, None) for wrong in ("name", "a/b/c", "../b", "a/..", "a/b--c", "a/.b", "a/b@", "a/b@../x", "a b/c")),
        *((wrong, None) for wrong in ("a/b:", "/a/b", "a/b@x:y:z", "a/" + "b" * 300, "a/b\nc", "~/b", "a/b@x//y")),
    ],
)
def test_names(text, expected):
    found = names.parse(text)
    assert (found and (found.repo, found.revision, found.quant)) == expected


def test_the_quant_is_read_from_the_files_name():
    files = {
        "gemma-4-E2B-it-Q4_K_M.gguf": "Q4_K_M",
        "gemma-4-E2B-it-UD-Q4_K_XL.gguf": "UD-Q4_K_XL",
        "gemma-3-270m-q4_k_m.gguf": "Q4_K_M",
        "gemma_q4_0.gguf": "Q4_0",
        "BF16/gemma-BF16-00001-of-00002.gguf": "BF16",
        "model.IQ4_XS.gguf": "IQ4_XS",
        "model-Q8_0-v2.gguf": "Q8_0",
        "gemma-4-26B-A4B-it-MXFP4_MOE.gguf": "MXFP4_MOE",
        "model-F16.GGUF": "F16",
        "plain.gguf": "plain",
    }
    for file, label in files.items():
        (group,) = names.gguf_groups([file, "mmproj-F16.gguf", "a-imatrix.gguf", "x.bin"])
        assert group.label == label, file


def test_choosing_a_quant():
    groups = names.gguf_groups(
        ["a-Q4_K_M.gguf", "a-UD-Q4_K_M.gguf", "x/b-Q8_0.gguf", "y/c-Q8_0.gguf", "d-UD-Q2_K.gguf"]
    )

    def chosen(quant: str | None) -> str:
        return names.pick(groups, quant, "org/m").files[0]

    assert chosen(None) == chosen("q4_k_m") == "a-Q4_K_M.gguf"
    assert chosen("UD-Q4_K_M") == "a-UD-Q4_K_M.gguf"
    assert chosen("q2_k") == "d-UD-Q2_K.gguf"
    assert chosen("c-Q8_0") == chosen("c-q8_0.gguf") == "y/c-Q8_0.gguf"
    with pytest.raises(gemlet.ModelNotFound, match=r"2 models are Q8_0: 'b-Q8_0', 'c-Q8_0'; give one of these"):
        chosen("Q8_0")
    with pytest.raises(gemlet.ModelNotFound, match=r"no model is 'K_M'; there is: Q4_K_M, Q8_0, UD-Q2_K, UD-Q4_K_M"):
        chosen("K_M")
    with pytest.raises(gemlet.ModelNotFound, match="there is no Q4_K_M, and more than one model"):
        names.pick(groups[2:], None, "org/m")


@given(st.text(alphabet="ab./\\\0\n~", max_size=12))
def test_a_name_inside_a_folder_stays_there(text):
    if names.is_inside(text):
        joined = os.path.join("/root", text)
        assert os.path.normpath(joined) == joined
        assert joined.startswith("/root/")
