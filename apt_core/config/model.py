"""Section `model`: which pretrained network, and where its adapters go."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from apt_core.config.base import FractionBelowOne, Listed, Section, Text, expand_env

BUILTIN_ARCHITECTURES = {
    "toy": "embedded:toy-roberta",
    "toy_t5": "embedded:toy-t5",
    "toy_llama": "embedded:toy-llama",
    "roberta": "FacebookAI/roberta-base",
    "bert": "google-bert/bert-base-uncased",
    "t5": "google/t5-base-lm-adapt",
    "llama": "meta-llama/Llama-2-7b-hf",
}
"""Architectures that need no declaration: name -> where the weights are."""

MhaComponent = Literal["q_proj", "k_proj", "v_proj", "o_proj"]
FfnComponent = Literal["intermediate_dense", "output_dense"]


class AdapterConfig(Section):
    """Which linear layers get an adapter."""

    mha_components: Annotated[tuple[MhaComponent, ...], Listed] = ("q_proj", "v_proj")
    """Attention projections with an adapter. The paper adapts queries and values."""
    apply_to_ffn: bool | None = None
    """Whether feed-forward layers get adapters too; null: as in the paper, yes for BERT, RoBERTa
    and T5, no for LLaMA."""
    ffn_components: Annotated[tuple[FfnComponent, ...], Listed] = ("intermediate_dense",)
    """Feed-forward layers with an adapter, if `apply_to_ffn`. The paper adapts the first one
    only."""


class ModelConfig(Section):
    """The pretrained network."""

    model_type: Text = "roberta"
    """Which entry of `architectures` to train."""
    architectures: dict[str, Text] = Field(default_factory=lambda: dict(BUILTIN_ARCHITECTURES))
    """Name -> Hugging Face hub id, local folder (may contain ${ENV}), or `embedded:NAME`. Adds to
    the built-in ones."""
    revision: str | None = None
    """Branch, tag or commit on the hub; null: the newest."""
    trust_remote_code: bool = False
    """Whether Python code that comes with a hub model may run. Leave false unless you have read
    that code."""
    dropout: FractionBelowOne | None = None
    """Dropout probability everywhere in the model; null: the model's own."""
    adapter: AdapterConfig = AdapterConfig()
    """Where adapters go."""

    @field_validator("architectures", mode="before")
    @classmethod
    def _add_builtin(cls, value: Any) -> Any:
        return {**BUILTIN_ARCHITECTURES, **value} if isinstance(value, dict) else value

    @property
    def path(self) -> str:
        """Where the chosen architecture's weights are, with ${ENV} replaced."""
        field = f"model.architectures.{self.model_type}"
        return expand_env(self.architectures[self.model_type], field)
