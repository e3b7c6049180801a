"""Options: ranges, error texts, and that every place that lists them lists the same."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gemlet
from gemlet.types import GenerateArgs, GenerateOptions, check_float, check_int


def test_the_signature_the_dataclass_and_the_types_agree():
    signature = inspect.signature(gemlet.Model.generate).parameters
    fields = GenerateOptions.__dataclass_fields__
    assert set(signature) - {"self", "x", "stream", "unknown"} == set(fields) == set(GenerateArgs.__annotations__)
    for name, field in fields.items():
        assert signature[name].default == field.default, name
        assert signature[name].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"temperature": -0.1}, ValueError, ["temperature", "[0, inf)", "-0.1"]),
        ({"temperature": math.nan}, ValueError, ["temperature", "nan"]),
        ({"temperature": math.inf}, ValueError, ["temperature", "inf"]),
        ({"temperature": "hot"}, TypeError, ["temperature", "'hot'"]),
        ({"top_p": 0}, ValueError, ["top_p", "(0, 1]", "0"]),
        ({"top_p": 1.01}, ValueError, ["top_p", "1.01"]),
        ({"min_p": 1.0}, ValueError, ["min_p", "[0, 1)"]),
        ({"top_k": -1}, ValueError, ["top_k", "-1"]),
        ({"top_k": 2.5}, TypeError, ["top_k", "2.5"]),
        ({"max_tokens": 0}, ValueError, ["max_tokens", "from 1", "0"]),
        ({"max_tokens": True}, TypeError, ["max_tokens", "True"]),
        ({"max_tokens": 2**40}, ValueError, ["max_tokens", str(2**40)]),
        ({"seed": -1}, ValueError, ["seed", "-1"]),
        ({"seed": 2**64}, ValueError, ["seed"]),
        ({"logprobs": -1}, ValueError, ["logprobs"]),
        ({"repeat_penalty": 0}, ValueError, ["repeat_penalty", "(0, inf)"]),
        ({"timeout": 0}, ValueError, ["timeout"]),
        ({"ignore_eos": 1}, TypeError, ["ignore_eos"]),
        ({"progress": 3}, TypeError, ["progress"]),
        ({"overflow": "shift"}, ValueError, ["overflow", "'error'", "'truncate'", "'shift'"]),
        ({"stop": ["a", ""]}, ValueError, ["stop[1]", "empty"]),
        ({"stop": [3]}, TypeError, ["stop[0]", "3"]),
        ({"stop": b"x"}, TypeError, ["stop"]),
        ({"stop": ["a", "b\ud800"]}, ValueError, ["stop[1]", "surrogate at 1"]),
        ({"logit_bias": {1: math.inf}}, ValueError, ["logit_bias[1]", "inf"]),
        ({"stop": 5}, TypeError, ["stop"]),
        ({"logit_bias": [1]}, TypeError, ["logit_bias", "list"]),
        ({"logit_bias": {-1: 0.0}}, ValueError, ["logit_bias", "-1"]),
        ({"logit_bias": {1: math.nan}}, ValueError, ["logit_bias[1]", "nan"]),
    ],
)
def test_a_wrong_value_names_option_range_and_value(options, error, words):
    with pytest.raises(error) as caught:
        GenerateOptions(**options)
    for word in words:
        assert word in str(caught.value)


def test_right_values_are_kept_in_one_form():
    options = GenerateOptions(stop="\n", temperature=np.float32(0.5), top_k=np.int64(3), logit_bias={np.int32(7): 1})
    assert options.stop == ("\n",)
    assert (options.temperature, options.top_k, options.logit_bias) == (0.5, 3, {7: 1.0})
    assert type(options.top_k) is int
    assert GenerateOptions(logit_bias={1: -math.inf}).logit_bias == {1: -math.inf}
    assert GenerateOptions(stop=iter(["a", "b"])).stop == ("a", "b")


@given(st.floats())
def test_any_float_is_inside_or_refused(value):
    try:
        assert 0 < check_float("call", "name", value, "(0, 1]") <= 1
    except ValueError as error:
        assert not 0 < value <= 1
        assert repr(value) in str(error)  # noqa: PT017


@given(st.integers(), st.integers(-5, 5))
def test_any_int_is_inside_or_refused(value, low):
    try:
        assert check_int("call", "name", value, low, low + 3) == value
    except ValueError:
        assert not low <= value <= low + 3
    else:
        assert low <= value <= low + 3


@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        ("max_token", TypeError, "did you mean 'max_tokens'"),
        ("temprature", TypeError, "did you mean 'temperature'"),
        ("streaming", TypeError, "did you mean 'stream'"),
        ("zzz", TypeError, "it has"),
        ("tools", TypeError, "'tools' is an option of m.chat"),
        ("n", ValueError, "not available in this version"),
        ("think", TypeError, "'think' is an option of m.chat"),
    ],
)
def test_an_unknown_option_of_generate_names_the_nearest(m, option, error, words):
    with pytest.raises(error, match=words):
        m.generate("x", **{option: 1})


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"thread": 2}, TypeError, "did you mean 'threads'"),
        ({"threads": 0}, ValueError, "threads must be an int from 1"),
        ({"threads": "many"}, TypeError, "threads"),
        ({"threads": True}, TypeError, "threads"),
        ({"context": 0}, ValueError, "context"),
        ({"kv_dtype": "q8"}, ValueError, "'f16'"),
        ({"compute": "bf16"}, ValueError, "'float32'"),
        ({"expert_cache": "2GiB"}, ValueError, "expert_cache='2GiB' is not available"),
        ({"quant": "q4_k_m"}, ValueError, "quant must be one of 'q8_0'"),
        ({"draft": 3}, TypeError, "draft must be a string, a path or None, not 3"),
        ({"draft": "mtp"}, gemlet.ModelNotFound, "draft='mtp' is no file or folder; expected one, or 'auto'"),
        ({"adapters": {}}, ValueError, "not available"),
    ],
)
def test_wrong_load_options(options, error, words):
    with pytest.raises(error, match=words):
        gemlet.load("there-is-no-such-file.gguf", **options)
