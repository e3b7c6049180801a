"""The numpy Gemma 4 of reference_gemma4.py against what transformers computed, so that other tests may trust it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")

from load_tool import maker  # noqa: E402
from reference_gemma4 import Gemma4, donors, rms  # noqa: E402

GOLDEN = Path(__file__).parent / "golden"
E2B, DENSE, MOE = NAMES = ["gemma4_tiny_e2b", "gemma4_tiny_31b", "gemma4_tiny_26b"]


def golden(name: str) -> tuple[Gemma4, dict[str, np.ndarray]]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return Gemma4.load(GOLDEN / f"{name}.gguf"), dict(file)


def make_gemma4() -> ModuleType:
    return maker("make_gemma4")


@pytest.mark.parametrize("name", NAMES)
def test_logits(name):
    model, expected = golden(name)
    assert np.abs(model.logits(expected["ids"]) - expected["logits"]).max() < 1e-4
    assert np.ptp(expected["logits"]) > 40  # 1e-4 would mean little if the logits were tiny, and the cap nothing


@pytest.mark.parametrize("name", NAMES)
def test_hidden_states(name):
    model, expected = golden(name)
    hidden = model.hidden(expected["ids"])[:, -expected["hidden"].shape[1] :]
    for layer, (state, wanted) in enumerate(zip(hidden, expected["hidden"], strict=True)):
        assert np.abs(state - wanted).max() < 1e-4, f"layer {layer}"


@pytest.mark.parametrize("name", NAMES)
def test_greedy(name):
    model, expected = golden(name)
    assert model.greedy(expected["ids"], 12) == expected["greedy"].tolist()
    assert len(set(expected["greedy"].tolist())) >= 8  # no loop, which a broken model would also fall into


def test_routing():
    model, expected = golden(MOE)
    model.hidden(expected["ids"])
    assert len(model.routes) == model.L
    for layer, (best, weights) in model.routes.items():
        assert (best == expected["experts"][layer]).all(), f"layer {layer}"
        assert np.abs(weights - expected["expert_weights"][layer]).max() < 1e-5, f"layer {layer}"
    assert len(np.unique(expected["experts"])) == 8  # every expert is used
    # The experts' own scales come after the renormalisation. The norm that follows takes a common factor out again, so
    # the logits would hardly tell.
    assert np.abs(expected["expert_weights"].sum(axis=-1) - 1).max() > 0.1


def test_donors():
    e2b = [(i + 1) % 5 != 0 for i in range(35)]
    assert donors(e2b, 20) == [*range(15), *(13 if s else 14 for s in e2b[15:])]
    e4b = [(i + 1) % 6 != 0 for i in range(42)]
    assert donors(e4b, 18) == [*range(24), *(22 if s else 23 for s in e4b[24:])]
    assert donors([True, False, True, True, False], 2) == [0, 1, 2, 2, 1]  # the sliding donor after the full one
    assert donors(e4b, 0) == list(range(42))


# --- what is wrong must show ---


class TurnedValues(Gemma4):
    """Where K = V: the values are the finished keys."""

    def keys_values(self, layer, x):
        k, v = super().keys_values(layer, x)
        return k, v if f"blk.{layer}.attn_v.weight" in self.w else k


class BareValues(Gemma4):
    """No norm of the values in full layers."""

    def keys_values(self, layer, x):
        k, v = super().keys_values(layer, x)
        if self.sliding[layer]:
            return k, v
        place = f"blk.{layer}.attn_{'v' if f'blk.{layer}.attn_v.weight' in self.w else 'k'}.weight"
        return k, (x @ self.w[place].T).reshape(v.shape)


class RootScale(Gemma4):
    def scale(self, layer):
        return self.C[layer] ** -0.5


class NarrowRope(Gemma4):
    """The exponent over the pairs that turn instead of all."""

    def frequencies(self, layer):
        found = super().frequencies(layer)
        return found if self.sliding[layer] else np.where(found > 1e-20, found**4, 0)


class NormedRouter(Gemma4):
    """The router reads what the experts read."""

    def route(self, layer, r):
        return super().route(layer, self.norm(f"blk.{layer}.pre_ffw_norm_2", r))


class UnscaledRows(Gemma4):
    """The per-layer rows without their sqrt(P)."""

    def per_layer(self, ids, x0):
        row = self.w["per_layer_token_embd.weight"][ids].reshape(len(ids), self.L, self.P)
        return super().per_layer(ids, x0) + row * (1 - np.sqrt(self.P)) * 2**-0.5


class EarlyInjection(Gemma4):
    """The per-layer part from the normed stream."""

    def inject(self, layer, x, part):
        return super().inject(layer, rms(x, self.eps), part)


class BranchScalar(Gemma4):
    """The last scalar on what its layer adds, not on the stream."""

    def hidden(self, ids):
        states = super().hidden(ids)
        scalars = [float(self.w[f"blk.{i}.layer_output_scale.weight"][0]) for i in range(self.L)]
        return self.norm("output_norm", states[-2] + (1 - scalars[-1]) * states[-3])[None]


def tensor(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Gemma4], Gemma4]:
    return lambda model: dataclasses.replace(model, w=model.w | {name: change(model.w[name])})


def number(**change) -> Callable[[Gemma4], Gemma4]:
    return lambda model: dataclasses.replace(model, **change)


def kind(cls: type[Gemma4]) -> Callable[[Gemma4], Gemma4]:
    return lambda model: cls(**{f.name: getattr(model, f.name) for f in dataclasses.fields(model)})


def donor(layer: int, other: int) -> Callable[[Gemma4], Gemma4]:
    def change(model: Gemma4) -> Gemma4:
        return dataclasses.replace(model, donor=[other if i == layer else d for i, d in enumerate(model.donor)])

    return change


def swapped(a: str, b: str) -> Callable[[Gemma4], Gemma4]:
    return lambda model: dataclasses.replace(model, w=model.w | {a: model.w[b], b: model.w[a]})


# fmt: off
WRONG = {
    "window too small": (NAMES, lambda m: dataclasses.replace(m, window=m.window - 1)),
    "window too large": (NAMES, lambda m: dataclasses.replace(m, window=m.window + 1)),
    "no softcap": (NAMES, number(softcap=0.0)),
    "softcap of 50": (NAMES, number(softcap=50.0)),
    "eps": (NAMES, number(eps=1e-3)),
    "base of full layers": (NAMES, number(base=1e4)),
    "base of sliding layers": (NAMES, number(base_sliding=1e6)),
    "all pairs of full layers turn": (NAMES, tensor("rope_freqs.weight", np.ones_like)),
    "no pair of full layers turns": (NAMES, tensor("rope_freqs.weight", lambda w: np.full_like(w, 1e30))),
    "rope_freqs multiplies": (NAMES, tensor("rope_freqs.weight", lambda w: np.where(w == 1, 1e30, 1))),
    "exponent over the turning pairs": (NAMES, kind(NarrowRope)),
    "scores divided by sqrt(C)": (NAMES, kind(RootScale)),
    "values of full layers not normed": (NAMES, kind(BareValues)),
    "values turned where K = V": ([DENSE, MOE], kind(TurnedValues)),
    "norms as 1 + w": (NAMES, tensor("output_norm.weight", lambda w: w + 1)),
    "first scalar left out": (NAMES, tensor("blk.0.layer_output_scale.weight", np.ones_like)),
    "last scalar on the branch": (NAMES, kind(BranchScalar)),
    "one kind of layer": (NAMES, lambda m: dataclasses.replace(m, window=10**6)),
    "sliding donor too low": ([E2B], donor(5, 2)),
    "sliding donor the first": ([E2B], donor(8, 0)),
    "sliding donor in between": ([E2B], donor(7, 1)),
    "per-layer rows unscaled": ([E2B], kind(UnscaledRows)),
    "per-layer part from the normed stream": ([E2B], kind(EarlyInjection)),
    "per-layer table one row off": ([E2B], tensor("per_layer_token_embd.weight", lambda w: np.roll(w, 1, 0))),
    "per-layer parts one layer off": ([E2B], tensor("per_layer_token_embd.weight", lambda w: np.roll(w, 4, 1))),
    "per-layer norm left out": ([E2B], tensor("per_layer_proj_norm.weight", np.ones_like)),
    "router's scale left out": ([MOE], tensor("blk.1.ffn_gate_inp.scale", np.ones_like)),
    "router's scale without D^-0.5": ([MOE], tensor("blk.1.ffn_gate_inp.scale", lambda w: w * 4)),
    "router reads the experts' input": ([MOE], kind(NormedRouter)),
    "experts' scale left out": ([MOE], tensor("blk.1.ffn_down_exps.scale", np.ones_like)),
    "gate and up swapped": ([MOE], tensor("blk.2.ffn_gate_up_exps.weight", lambda w: np.roll(w, 8, 1))),
    "one expert": ([MOE], number(used=1)),
    "three experts": ([MOE], number(used=3)),
    "norms _1 and _2 swapped": ([MOE], swapped("blk.0.post_ffw_norm_1.weight", "blk.0.post_ffw_norm_2.weight")),
    "experts fed by the dense norm": ([MOE], swapped("blk.0.ffn_norm.weight", "blk.0.pre_ffw_norm_2.weight")),
}
# fmt: on


@pytest.mark.parametrize(("what", "name"), [(what, name) for what, (names, _) in WRONG.items() for name in names])
def test_golden_files_notice(what, name):
    model, expected = golden(name)
    wrong = WRONG[what][1](model).logits(expected["ids"])
    assert np.abs(wrong - expected["logits"]).max() > 1e-2


def test_dead_tensors_are_not_used(tmp_path):
    """A layer that shares is told by its index: tensors of its own change nothing."""
    script = make_gemma4()
    variant = next(v for v in script.MORE if v.dead)
    script.write_gguf(variant, tmp_path / "dead.gguf")
    model = Gemma4.load(tmp_path / "dead.gguf")
    dead = [n for n in model.w if ".attn_k" in n or ".attn_v" in n if int(n.split(".")[1]) >= 4]
    assert len(dead) == 3 * 4
    without = dataclasses.replace(model, w={n: a for n, a in model.w.items() if n not in dead})
    ids = np.arange(4, 30)
    assert (model.logits(ids) == without.logits(ids)).all()


# --- live ---


@pytest.mark.parity
def test_golden_files_are_what_the_script_makes(tmp_path):
    pytest.importorskip("torch")
    script = make_gemma4()
    for variant in script.VARIANTS:
        script.make(variant, tmp_path)
        kept = (GOLDEN / f"{variant.name}.gguf").read_bytes()
        assert (tmp_path / f"{variant.name}.gguf").read_bytes() == kept
        with np.load(tmp_path / f"{variant.name}.npz") as made, np.load(GOLDEN / f"{variant.name}.npz") as stored:
            assert set(made) == set(stored)
            for key in stored:
                np.testing.assert_allclose(made[key], stored[key], rtol=0, atol=5e-5, err_msg=key)


@pytest.mark.parity
def test_more_variants(tmp_path):
    """Shapes that are not stored: E4B-like, dead tensors, all experts in use, split experts, no cap."""
    pytest.importorskip("torch")
    script = make_gemma4()
    for variant in script.MORE:
        expected = script.compute(variant, script.write_gguf(variant, tmp_path / "m.gguf"))
        model = Gemma4.load(tmp_path / "m.gguf")
        scale = max(1.0, np.abs(expected["logits"]).max() / 30)  # without a cap the logits are larger
        assert np.abs(model.logits(expected["ids"]) - expected["logits"]).max() < 1e-4 * scale, variant.name


@pytest.mark.parity
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_folders(name, shards, tmp_path):
    """The folders that gemma4_folder.py writes are what transformers takes for the same model."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    from gemma4_folder import write_folder

    script = make_gemma4()
    variant = next(v for v in script.VARIANTS if v.name == name)
    write_folder(tmp_path, script.hf_config(variant), script.hf_state(script.weights(variant)), shards=shards)
    model, report = AutoModelForCausalLM.from_pretrained(
        tmp_path, attn_implementation="eager", experts_implementation="eager", output_loading_info=True
    )
    assert not any(report.values()), report
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    with np.load(GOLDEN / f"{name}.npz") as expected, torch.no_grad():
        logits = model(torch.from_numpy(expected["ids"]).long()[None], use_cache=False).logits[0].numpy()
        assert np.abs(logits - expected["logits"]).max() < 1e-4


@pytest.mark.parity
@pytest.mark.parametrize(("dtype", "name"), [("F16", "float16"), ("BF16", "bfloat16")])
def test_folders_of_half_precision(dtype, name, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from gemma4_folder import write_safetensors

    array = np.random.default_rng(4).normal(0, 1, (33, 7)).astype(np.float32)
    write_safetensors(tmp_path / "x.safetensors", {"x": array}, dtype)
    read = load_file(tmp_path / "x.safetensors")["x"]
    assert (read == torch.from_numpy(array).to(getattr(torch, name))).all()
