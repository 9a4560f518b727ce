"""Pruned models: stock classes of transformers whose layers are cut to their configuration.

Travels with every exported model: torch, transformers and the files beside it only. A model is
built in its unpruned shape (on the meta device while weights are loaded, so that this costs
nothing) and then cut to the counts that its configuration gives for every layer.
"""

from typing import Any

from torch import nn
from transformers import (
    BertForQuestionAnswering,
    BertForSequenceClassification,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    GemmaForCausalLM,
    LlamaForCausalLM,
    MistralForCausalLM,
    MT5ForConditionalGeneration,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    T5ForConditionalGeneration,
)

from .configuration_apt import (
    AptBertConfig,
    AptDistilBertConfig,
    AptGemmaConfig,
    AptLlamaConfig,
    AptMistralConfig,
    AptMT5Config,
    AptQwen2Config,
    AptQwen3Config,
    AptRobertaConfig,
    AptT5Config,
    dense_shape,
)
from .pruned_layers import TABLE, Bypass, share_position_table, with_zero_bias, without_bias


class PrunedModel:
    """What the models of all families have in common; comes first among the bases.

    Args:
        config: a configuration of a pruned model.
    """

    def __init__(self, config: Any) -> None:
        with dense_shape(config):
            super().__init__(config)  # type: ignore[call-arg]
        _Cutter(self, config).cut()

    def _init_weights(self, module: Any) -> None:
        # Stock initialisation reads counts of the whole model.
        base: Any = super()
        with dense_shape(self.config):  # type: ignore[attr-defined]
            base._init_weights(module)


class _Cutter:
    """Cuts a freshly built model to its configuration, in place."""

    def __init__(self, model: Any, config: Any) -> None:
        self.model = model
        self.config = config
        self.hidden_size = config.hidden_size
        self.done: dict[nn.Parameter, nn.Parameter] = {}

    def cut(self) -> None:
        layout = self.config.apt_layout
        for number, stack in enumerate(layout["stacks"]):
            self._cut_stack(stack, self.config.layer_counts(number))
        for path in (*layout["embeddings"], *layout["head_readers"]):
            self._cut_weight(self.model.get_submodule(path), columns=self.hidden_size)
        for path in layout["norms"]:
            self._cut_norm(self.model.get_submodule(path))
        for module in self.model.modules():  # stacks of T5 have copies of the configuration
            own = getattr(module, "config", None)
            if own is not None and own is not self.config:
                own.hidden_size = self.hidden_size

    def _cut_stack(self, stack: dict[str, Any], counts: list[dict[str, int]]) -> None:
        layers = list(self.model.get_submodule(stack["layers"]))
        for block in stack["sub_blocks"]:
            self._own_biases(layers, block)
            for index, layer in enumerate(layers):
                count = counts[index][block["count"]]
                if count == 0:
                    _remove(layer, block, index)
                else:
                    self._cut_sub_block(layer, block, count)

    def _own_biases(self, layers: list[Any], block: dict[str, Any]) -> None:
        """Every layer of T5 gets its own table: they no longer keep the same heads."""
        if block["position_bias"] is None:
            return
        attentions = [layer.get_submodule(block["attention"]) for layer in layers]
        hook = without_bias if block["position_bias"] == "table" else with_zero_bias
        for attention in attentions:
            attention.register_forward_pre_hook(hook, with_kwargs=True)
        if block["position_bias"] == "table":
            first = getattr(attentions[0], TABLE)
            for attention in attentions[1:]:
                share_position_table(attention, first)
                own = nn.Parameter(first.weight.detach().clone())
                getattr(attention, TABLE).weight = own  # no longer shared, as in the file

    def _cut_sub_block(self, layer: Any, block: dict[str, Any], count: int) -> None:
        for path, width in block["readers"]:
            module = layer.get_submodule(path)
            self._cut_weight(module, rows=count * width, columns=self.hidden_size)
        path, width = block["writer"]
        module = layer.get_submodule(path)
        self._cut_weight(module, rows=self.hidden_size, columns=count * width)
        if block["norm"] is not None:
            self._cut_norm(layer.get_submodule(block["norm"]))
        if block["position_bias"] == "table":
            table = getattr(layer.get_submodule(block["attention"]), TABLE)
            self._cut_weight(table, columns=count)

    def _cut_weight(self, module: Any, *, rows: int | None = None, columns: int) -> None:
        rows = module.weight.shape[0] if rows is None else rows
        self._replace(module, "weight", rows, columns)
        if isinstance(module, nn.Embedding):
            module.embedding_dim = columns
            return
        if module.bias is not None:
            self._replace(module, "bias", rows)
        module.out_features, module.in_features = rows, columns

    def _cut_norm(self, norm: Any) -> None:
        for name, _ in list(norm.named_parameters()):
            self._replace(norm, name, self.hidden_size)
        if isinstance(norm, nn.LayerNorm):
            norm.normalized_shape = (self.hidden_size,)

    def _replace(self, module: Any, name: str, *shape: int) -> None:
        """The leading part of a parameter; one that has several names stays one."""
        whole = getattr(module, name)
        cut = self.done.get(whole)  # by identity: parameters hash so
        if cut is None:
            part = whole.detach()[tuple(slice(size) for size in shape)]
            cut = nn.Parameter(part.clone(), whole.requires_grad)
            self.done |= {whole: cut, cut: cut}
        setattr(module, name, cut)


def _remove(layer: Any, block: dict[str, Any], index: int) -> None:
    for bypass in block["bypass"]:
        parent, _, name = bypass["path"].rpartition(".")
        replacement = Bypass(
            bypass["gives"],
            input_position=bypass["input_position"],
            num_outputs=bypass["num_outputs"],
            cache_layer=index if block["is_cached"] else None,
        )
        setattr(layer.get_submodule(parent), name, replacement)


class AptBertForSequenceClassification(PrunedModel, BertForSequenceClassification):
    """A pruned BERT that gives classes or a score."""

    config_class = AptBertConfig


class AptBertForQuestionAnswering(PrunedModel, BertForQuestionAnswering):
    """A pruned BERT that gives spans."""

    config_class = AptBertConfig


class AptRobertaForSequenceClassification(PrunedModel, RobertaForSequenceClassification):
    """A pruned RoBERTa that gives classes or a score."""

    config_class = AptRobertaConfig


class AptRobertaForQuestionAnswering(PrunedModel, RobertaForQuestionAnswering):
    """A pruned RoBERTa that gives spans."""

    config_class = AptRobertaConfig


class AptDistilBertForSequenceClassification(PrunedModel, DistilBertForSequenceClassification):
    """A pruned DistilBERT that gives classes or a score."""

    config_class = AptDistilBertConfig


class AptDistilBertForQuestionAnswering(PrunedModel, DistilBertForQuestionAnswering):
    """A pruned DistilBERT that gives spans."""

    config_class = AptDistilBertConfig


class AptT5ForConditionalGeneration(PrunedModel, T5ForConditionalGeneration):
    """A pruned T5."""

    config_class = AptT5Config


class AptMT5ForConditionalGeneration(PrunedModel, MT5ForConditionalGeneration):
    """A pruned mT5."""

    config_class = AptMT5Config


class AptLlamaForCausalLM(PrunedModel, LlamaForCausalLM):
    """A pruned LLaMA."""

    config_class = AptLlamaConfig


class AptMistralForCausalLM(PrunedModel, MistralForCausalLM):
    """A pruned Mistral."""

    config_class = AptMistralConfig


class AptGemmaForCausalLM(PrunedModel, GemmaForCausalLM):
    """A pruned Gemma."""

    config_class = AptGemmaConfig


class AptQwen2ForCausalLM(PrunedModel, Qwen2ForCausalLM):
    """A pruned Qwen 2."""

    config_class = AptQwen2Config


class AptQwen3ForCausalLM(PrunedModel, Qwen3ForCausalLM):
    """A pruned Qwen 3."""

    config_class = AptQwen3Config


MODELS: dict[str, tuple[Any, ...]] = {
    "AutoModelForSequenceClassification": (
        AptBertForSequenceClassification,
        AptRobertaForSequenceClassification,
        AptDistilBertForSequenceClassification,
    ),
    "AutoModelForQuestionAnswering": (
        AptBertForQuestionAnswering,
        AptRobertaForQuestionAnswering,
        AptDistilBertForQuestionAnswering,
    ),
    "AutoModelForSeq2SeqLM": (AptT5ForConditionalGeneration, AptMT5ForConditionalGeneration),
    "AutoModelForCausalLM": (
        AptLlamaForCausalLM,
        AptMistralForCausalLM,
        AptGemmaForCausalLM,
        AptQwen2ForCausalLM,
        AptQwen3ForCausalLM,
    ),
}
"""Auto class -> the models that it makes; saving one copies these files beside it."""
for _auto_class, _models in MODELS.items():
    for _model in _models:
        _model.register_for_auto_class(_auto_class)
