"""bert-base and roberta-base as shapes: no weight is allocated."""

from typing import Any

import torch
from transformers import BertConfig, RobertaConfig

from apt_core.models.loading import LoadedModel, build_model


def base_config(family: str) -> Any:
    """The configuration of bert-base-uncased or roberta-base."""
    if family == "bert":
        return BertConfig()
    return RobertaConfig(
        vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5
    )


def base_model(family: str) -> LoadedModel:
    """A classifier of two classes on the meta device."""
    with torch.device("meta"):
        return build_model(base_config(family))
