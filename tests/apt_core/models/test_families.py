"""Every path of every family against the real model, and every cut against one made by hand."""

import copy

import pytest
import torch
from torch import Tensor, nn

from apt_core.adapters.inject import freeze_all_but, inject_adapters
from apt_core.errors import UnsupportedModelError
from apt_core.models.families import FAMILIES, choose_head, family_named
from apt_core.models.loading import LoadedModel, build_model
from apt_core.models.spec import GENERATIVE, HeadKind
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.masks import apply_masks, binary_masks
from tests.reference.base_models import base_model
from tests.tiny import CASES, tiny_batch, tiny_config

ALL = pytest.mark.parametrize("family", ["bert", "roberta"])
"""Cut by hand here; all families are traced in test_families_trace.py."""
HEAD_READER = {"bert": "bert.pooler.dense", "roberta": "classifier.dense"}


def names_under(model: nn.Module, prefix: str) -> set[str]:
    return {name for name, _ in model.named_parameters() if name.startswith(f"{prefix}.")}


def parameters_of(model: nn.Module, paths: list[str]) -> list[str]:
    return [f"{p}.{name}" for p in paths for name, _ in model.get_submodule(p).named_parameters()]


@ALL
def test_projections_and_norms_are_every_parameter_of_the_layers_exactly_once(family: str) -> None:
    loaded = base_model(family)
    reached = []
    for sub_block in loaded.model_map.sub_blocks:
        paths = [p.path for p in sub_block.projections]
        assert {type(loaded.model.get_submodule(path)) for path in paths} == {nn.Linear}
        assert sub_block.norm is not None
        assert type(loaded.model.get_submodule(sub_block.norm)) is nn.LayerNorm
        reached += parameters_of(loaded.model, [*paths, sub_block.norm])
    assert sorted(reached) == sorted(names_under(loaded.model, f"{family}.encoder.layer"))


@ALL
def test_embeddings_norms_and_head_are_every_parameter_outside_the_layers(family: str) -> None:
    loaded = base_model(family)
    spec = loaded.model_map
    assert {type(loaded.model.get_submodule(path)) for path in spec.embeddings} == {nn.Embedding}
    assert {type(loaded.model.get_submodule(path)) for path in spec.outer_norms} == {nn.LayerNorm}
    outside = parameters_of(loaded.model, [*spec.embeddings, *spec.outer_norms, *spec.head])
    everything = {name for name, _ in loaded.model.named_parameters()}
    assert sorted(outside) == sorted(
        everything - names_under(loaded.model, f"{family}.encoder.layer")
    )


@ALL
def test_what_a_bypass_replaces_is_its_sub_block_and_nothing_else(family: str) -> None:
    loaded = base_model(family)
    for sub_block in loaded.model_map.sub_blocks:
        replaced = parameters_of(loaded.model, [bypass.path for bypass in sub_block.bypass])
        assert sub_block.norm is not None
        own = [p.path for p in sub_block.projections] + [sub_block.norm]
        assert sorted(replaced) == sorted(parameters_of(loaded.model, own))
        assert loaded.model.get_submodule(sub_block.residual_input) is not None


@ALL
def test_everything_that_is_as_wide_as_the_stream_is_known(family: str) -> None:
    # A width that nothing else has, so that shapes alone say what carries the hidden dimension.
    config = tiny_config(family)
    config.update({"hidden_size": 36, "vocab_size": 51, "max_position_embeddings": 41})
    loaded = build_model(config)
    spec = loaded.model_map
    known = {f"{path}.weight" for path in (*spec.embeddings, *spec.head_readers)}
    known |= set(parameters_of(loaded.model, list(loaded.model_map.norms())))
    for sub_block in loaded.model_map.sub_blocks:
        known |= {f"{p.path}.weight" for p in sub_block.projections}
        known.add(f"{sub_block.writer.path}.bias")
    as_wide = {name for name, p in loaded.model.named_parameters() if 36 in p.shape}
    # Reader biases belong to heads, the dense layer's own outputs to the task head.
    readers = {f"{path}.bias" for s in loaded.model_map.sub_blocks for _, path, _ in s.readers}
    head = set(parameters_of(loaded.model, list(spec.head)))
    assert as_wide - readers - head == known - head
    assert {f"{path}.weight" for path in spec.head_readers} == {f"{HEAD_READER[family]}.weight"}


def everything(loaded: LoadedModel) -> tuple[dict[str, Tensor], Tensor]:
    units = {s.name: torch.arange(s.num_units) for s in loaded.structure.sub_blocks}
    return units, torch.arange(loaded.structure.hidden_size)


def random_model(family: str) -> LoadedModel:
    torch.manual_seed(0)
    loaded = build_model(tiny_config(family))
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    loaded.model.eval()
    return loaded


@torch.no_grad()
def masked_logits(loaded: LoadedModel, kept: KeptBlocks) -> Tensor:
    model = copy.deepcopy(loaded.model)
    inject_adapters(model, loaded.model_map, ranks={}, scaling=1.0)
    apply_masks(model, loaded.model_map, binary_masks(loaded.structure, kept))
    return model(**tiny_batch(labels=False)).logits


@torch.no_grad()
def logits_of(model: nn.Module) -> Tensor:
    return model(**tiny_batch(labels=False)).logits


def assert_same_and_changed(masked: Tensor, by_hand: Tensor, before: Tensor) -> None:
    torch.testing.assert_close(masked, by_hand, atol=1e-5, rtol=0)
    assert (by_hand - before).abs().max() > 1e-4


@ALL
@pytest.mark.parametrize("head", [0, 2])
def test_a_masked_head_is_a_head_whose_values_are_zeroed_by_hand(family: str, head: int) -> None:
    loaded = random_model(family)
    units, hidden = everything(loaded)
    name = f"{family}.encoder.layer.1.attention"
    units[name] = units[name][units[name] != head]
    by_hand = copy.deepcopy(loaded.model)
    value = by_hand.get_submodule(f"{name}.self.value")
    rows = slice(4 * head, 4 * head + 4)
    value.weight.data[rows] = 0.0
    value.bias.data[rows] = 0.0
    masked = masked_logits(loaded, KeptBlocks(units, hidden))
    assert_same_and_changed(masked, logits_of(by_hand), logits_of(loaded.model))


@ALL
def test_a_masked_neuron_is_a_neuron_whose_inputs_are_zeroed_by_hand(family: str) -> None:
    loaded = random_model(family)
    units, hidden = everything(loaded)
    units[f"{family}.encoder.layer.2.ffn"] = torch.tensor([i for i in range(24) if i != 5])
    by_hand = copy.deepcopy(loaded.model)
    up = by_hand.get_submodule(f"{family}.encoder.layer.2.intermediate.dense")
    up.weight.data[5] = 0.0
    up.bias.data[5] = 0.0  # GELU(0) = 0
    masked = masked_logits(loaded, KeptBlocks(units, hidden))
    assert_same_and_changed(masked, logits_of(by_hand), logits_of(loaded.model))


class NormWithout(nn.Module):
    """A norm that has never heard of one of its inputs and writes 0 there."""

    def __init__(self, norm: nn.LayerNorm, gone: int) -> None:
        super().__init__()
        self.norm, self.gone = norm, gone

    def forward(self, x: Tensor) -> Tensor:
        rest = [i for i in range(x.shape[-1]) if i != self.gone]
        chosen = x[..., rest]
        mean = chosen.mean(-1, keepdim=True)
        deviation = (chosen.var(-1, unbiased=False, keepdim=True) + self.norm.eps).sqrt()
        y = torch.zeros_like(x)
        y[..., rest] = (chosen - mean) / deviation * self.norm.weight[rest] + self.norm.bias[rest]
        return y


@ALL
@pytest.mark.parametrize("gone", [0, 9])
def test_a_masked_hidden_dimension_is_one_that_is_zeroed_everywhere_by_hand(
    family: str, gone: int
) -> None:
    loaded = random_model(family)
    units, hidden = everything(loaded)
    by_hand = copy.deepcopy(loaded.model)
    for name, module in list(by_hand.named_modules()):
        parent, _, leaf = name.rpartition(".")
        if isinstance(module, nn.LayerNorm):
            setattr(by_hand.get_submodule(parent), leaf, NormWithout(module, gone))
        if isinstance(module, nn.Embedding):
            module.weight.data[:, gone] = 0.0
        if name.endswith("output.dense"):
            module.weight.data[gone] = 0.0
            module.bias.data[gone] = 0.0
    masked = masked_logits(loaded, KeptBlocks(units, hidden[hidden != gone]))
    assert_same_and_changed(masked, logits_of(by_hand), logits_of(loaded.model))


@pytest.mark.parametrize(("family", "head_kind"), CASES)
def test_fresh_heads_train_and_pretrained_ones_stay_frozen(
    family: str, head_kind: HeadKind
) -> None:
    config = tiny_config(family)
    config.num_labels = 2
    loaded = build_model(config, head_kind)
    freeze_all_but(loaded.model, loaded.model_map.head)
    trained = {name for name, value in loaded.model.named_parameters() if value.requires_grad}
    if head_kind in GENERATIVE:
        assert trained == set()
        assert not loaded.model.lm_head.weight.requires_grad
    else:
        assert any(name.startswith(("classifier.", "qa_outputs.")) for name in trained)
        assert not any("embeddings." in name or ".layer." in name for name in trained)


def test_llama_like_families_count_outliers_and_adapt_no_feed_forward_layer() -> None:
    decoders = {"llama", "mistral", "gemma", "qwen2", "qwen3"}
    assert {name for name, spec in FAMILIES.items() if spec.uses_kurtosis} == decoders
    assert {name for name, spec in FAMILIES.items() if not spec.adapts_ffn} == decoders


@pytest.mark.parametrize("kind", ["classification", "regression", "qa"])
def test_encoders_have_a_head_of_their_own_for_classes_scores_and_spans(kind: str) -> None:
    expected = "question_answering" if kind == "qa" else "sequence_classification"
    for family in ("bert", "roberta", "distilbert"):
        assert choose_head(family_named(family), family, kind) == expected


@pytest.mark.parametrize(
    "kind", ["classification", "regression", "qa", "summarization", "instruction"]
)
def test_families_that_write_do_every_task_with_their_one_head(kind: str) -> None:
    assert choose_head(family_named("t5"), "t5", kind) == "seq2seq_lm"
    assert choose_head(family_named("t5", "gated-gelu"), "t5", kind) == "seq2seq_lm"
    assert choose_head(family_named("llama"), "llama", kind) == "causal_lm"


@pytest.mark.parametrize("kind", ["summarization", "instruction"])
def test_an_encoder_writes_no_text(kind: str) -> None:
    with pytest.raises(UnsupportedModelError, match="choose one that writes text"):
        choose_head(family_named("roberta"), "roberta", kind)
