"""Configurations of pruned models: the stock ones, and what every layer has kept.

Travels with every exported model: transformers only. ``per_layer_config`` (transformers' own
format) says for every layer how many heads and neurons it has; a second stack of layers (T5's
decoder) stands in ``target_layers``. ``hidden_size`` is what is left of the residual stream and
``dense_hidden_size`` what it was; ``apt_layout`` says where in the model the parts are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import (
    BertConfig,
    DistilBertConfig,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    MT5Config,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
    T5Config,
)

SPEC = "_heterogeneity_spec"


class PrunedConfig:
    """What the configurations of all families have in common; comes first among the bases."""

    @property
    def allow_global_per_layer_attribute_access(self) -> bool:
        """Global counts are those of the unpruned model; reading them is no error."""
        return True

    @property
    def serialize_explicit_per_layer_config(self) -> bool:
        """Every layer is spelled out in ``config.json``, also one that kept everything."""
        return True

    def validate(self) -> None:
        """Nothing is checked: stock rules tie widths to each other, here each layer has its own."""

    def layer_counts(self, stack: int) -> list[dict[str, int]]:
        """Heads and neurons of every layer of a stack.

        Args:
            stack: 0, or 1 for a decoder beside an encoder.

        Returns:
            By layer: name of the count -> how many are left.
        """
        config: Any = self
        if stack > 0:
            return list(config.target_layers)
        names = config.apt_layout["stacks"][0]["counts"]
        return [{name: getattr(layer, name) for name in names} for layer in config.per_layer_config]


@contextmanager
def dense_shape(config: Any) -> Iterator[None]:
    """Let a configuration be the unpruned model's for a while: stock code is built from it.

    Args:
        config: changed, and changed back.

    Yields:
        Nothing.
    """
    spec, hidden_size = config.__dict__.pop(SPEC, None), config.hidden_size
    config.hidden_size = config.dense_hidden_size
    try:
        yield
    finally:
        config.hidden_size = hidden_size
        if spec is not None:
            config.__dict__[SPEC] = spec


class AptBertConfig(PrunedConfig, BertConfig):
    """A pruned BERT."""

    model_type = "apt_bert"


class AptRobertaConfig(PrunedConfig, RobertaConfig):
    """A pruned RoBERTa."""

    model_type = "apt_roberta"


class AptDistilBertConfig(PrunedConfig, DistilBertConfig):
    """A pruned DistilBERT."""

    model_type = "apt_distilbert"


class AptT5Config(PrunedConfig, T5Config):
    """A pruned T5."""

    model_type = "apt_t5"


class AptMT5Config(PrunedConfig, MT5Config):
    """A pruned mT5."""

    model_type = "apt_mt5"


class AptLlamaConfig(PrunedConfig, LlamaConfig):
    """A pruned LLaMA."""

    model_type = "apt_llama"


class AptMistralConfig(PrunedConfig, MistralConfig):
    """A pruned Mistral."""

    model_type = "apt_mistral"


class AptGemmaConfig(PrunedConfig, GemmaConfig):
    """A pruned Gemma."""

    model_type = "apt_gemma"


class AptQwen2Config(PrunedConfig, Qwen2Config):
    """A pruned Qwen 2."""

    model_type = "apt_qwen2"


class AptQwen3Config(PrunedConfig, Qwen3Config):
    """A pruned Qwen 3."""

    model_type = "apt_qwen3"


CONFIGS = {
    kind.model_type.removeprefix("apt_"): kind
    for kind in (
        AptBertConfig,
        AptRobertaConfig,
        AptDistilBertConfig,
        AptT5Config,
        AptMT5Config,
        AptLlamaConfig,
        AptMistralConfig,
        AptGemmaConfig,
        AptQwen2Config,
        AptQwen3Config,
    )
}
"""``model_type`` of the unpruned family -> the configuration of its pruned models."""
for _kind in CONFIGS.values():
    _kind.register_for_auto_class()
