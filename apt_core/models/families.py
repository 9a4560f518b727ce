"""The families that can be pruned, as data.

Adding one means adding an `ArchSpec` here, and no code elsewhere.
"""

from collections.abc import Mapping

from apt_core.errors import UnsupportedModelError
from apt_core.models.spec import (
    ENCODER_TASKS,
    GENERATIVE,
    ArchSpec,
    BypassSpec,
    HeadKind,
    HeadSpec,
    StackSpec,
    SubBlockSpec,
)

_BERT_LAYER = (
    SubBlockSpec(
        kind="attention",
        name="attention",
        readers=(
            ("q_proj", "attention.self.query"),
            ("k_proj", "attention.self.key"),
            ("v_proj", "attention.self.value"),
        ),
        writer=("o_proj", "attention.output.dense"),
        residual_input="attention.self",
        bypass=(BypassSpec("attention", gives="input", num_outputs=2),),
        norm="attention.output.LayerNorm",
    ),
    SubBlockSpec(
        kind="ffn",
        name="ffn",
        readers=(("intermediate_dense", "intermediate.dense"),),
        writer=("output_dense", "output.dense"),
        residual_input="intermediate",
        bypass=(
            BypassSpec("intermediate", gives="input"),
            BypassSpec("output", gives="input", input_position=1),
        ),
        norm="output.LayerNorm",
    ),
)

_DISTILBERT_LAYER = (
    SubBlockSpec(
        kind="attention",
        name="self_attention",
        readers=(
            ("q_proj", "attention.q_lin"),
            ("k_proj", "attention.k_lin"),
            ("v_proj", "attention.v_lin"),
        ),
        writer=("o_proj", "attention.out_lin"),
        residual_input="attention",
        bypass=(
            BypassSpec("attention", gives="zero", num_outputs=2),
            BypassSpec("sa_layer_norm", gives="input"),
        ),
        norm="sa_layer_norm",
    ),
    SubBlockSpec(
        kind="ffn",
        name="feed_forward",
        readers=(("intermediate_dense", "ffn.lin1"),),
        writer=("output_dense", "ffn.lin2"),
        residual_input="ffn",
        bypass=(
            BypassSpec("ffn", gives="zero"),
            BypassSpec("output_layer_norm", gives="input"),
        ),
        norm="output_layer_norm",
    ),
)


def _bert_like(
    base: str,
    *,
    classifier: HeadSpec,
    layers: str = "encoder.layer",
    sub_blocks: tuple[SubBlockSpec, ...] = _BERT_LAYER,
    tables: tuple[str, ...] = ("word", "position", "token_type"),
) -> ArchSpec:
    """Post-norm encoders that name their parts as BERT does."""
    span_head = HeadSpec(base, readers=("qa_outputs",), trained=("qa_outputs",))
    return ArchSpec(
        stacks=(StackSpec(layers, sub_blocks),),
        embeddings=tuple(f"embeddings.{table}_embeddings" for table in tables),
        norms=("embeddings.LayerNorm",),
        heads={"sequence_classification": classifier, "question_answering": span_head},
    )


def _t5_attention(layer: int, module: str, name: str, *, is_decoder: bool) -> SubBlockSpec:
    path = f"layer.{layer}.{module}"
    is_cross = module == "EncDecAttention"
    return SubBlockSpec(
        kind="attention",
        name=name,
        readers=(("q_proj", f"{path}.q"), ("k_proj", f"{path}.k"), ("v_proj", f"{path}.v")),
        writer=("o_proj", f"{path}.o"),
        residual_input=f"layer.{layer}.layer_norm",
        bypass=(BypassSpec(f"layer.{layer}", gives="input", num_outputs=3),),
        norm=f"layer.{layer}.layer_norm",
        position_bias="none" if is_cross else "table",
        attention=path,
        is_cached=is_decoder and not is_cross,
        memory="source" if is_cross else None,
    )


def _t5_ffn(layer: int, *, is_gated: bool) -> SubBlockSpec:
    path = f"layer.{layer}.DenseReluDense"
    gated = (("intermediate_dense", f"{path}.wi_0"), ("up_proj", f"{path}.wi_1"))
    return SubBlockSpec(
        kind="ffn",
        name="ffn",
        readers=gated if is_gated else (("intermediate_dense", f"{path}.wi"),),
        writer=("output_dense", f"{path}.wo"),
        residual_input=f"layer.{layer}.layer_norm",
        bypass=(BypassSpec(f"layer.{layer}", gives="input"),),
        norm=f"layer.{layer}.layer_norm",
    )


def _t5_like(*, is_gated: bool) -> ArchSpec:
    """Encoder and decoder with relative positions; the residual stream is one for both."""
    encoder = (
        _t5_attention(0, "SelfAttention", "self_attention", is_decoder=False),
        _t5_ffn(1, is_gated=is_gated),
    )
    decoder = (
        _t5_attention(0, "SelfAttention", "self_attention", is_decoder=True),
        _t5_attention(1, "EncDecAttention", "cross_attention", is_decoder=True),
        _t5_ffn(2, is_gated=is_gated),
    )
    return ArchSpec(
        stacks=(
            StackSpec("encoder.block", encoder, final_norm="encoder.final_layer_norm"),
            StackSpec(
                "decoder.block", decoder, stream="target", final_norm="decoder.final_layer_norm"
            ),
        ),
        embeddings=("shared", "encoder.embed_tokens", "decoder.embed_tokens"),
        norms=(),
        heads={"seq2seq_lm": HeadSpec("", readers=("lm_head",))},
        norm_kind="rms",
        is_pre_norm=True,
    )


def _llama_like(*, extra: tuple[str, ...] = ()) -> ArchSpec:
    """Pre-norm decoders with rotary positions, a gated feed-forward part and grouped queries."""
    layer = (
        SubBlockSpec(
            kind="attention",
            name="attention",
            readers=tuple((role, f"self_attn.{role}") for role in ("q_proj", "k_proj", "v_proj")),
            writer=("o_proj", "self_attn.o_proj"),
            residual_input="input_layernorm",
            bypass=(
                BypassSpec("input_layernorm", gives="input"),
                BypassSpec("self_attn", gives="zero", num_outputs=2),
            ),
            norm="input_layernorm",
            extra=extra,
            is_cached=True,
        ),
        SubBlockSpec(
            kind="ffn",
            name="ffn",
            readers=(("intermediate_dense", "mlp.gate_proj"), ("up_proj", "mlp.up_proj")),
            writer=("output_dense", "mlp.down_proj"),
            residual_input="post_attention_layernorm",
            bypass=(
                BypassSpec("post_attention_layernorm", gives="input"),
                BypassSpec("mlp", gives="zero"),
            ),
            norm="post_attention_layernorm",
        ),
    )
    return ArchSpec(
        stacks=(StackSpec("layers", layer, final_norm="norm"),),
        embeddings=("embed_tokens",),
        norms=(),
        heads={"causal_lm": HeadSpec("model", readers=("lm_head",))},
        norm_kind="rms",
        is_pre_norm=True,
        uses_kurtosis=True,
        adapts_ffn=False,
    )


_LLAMA = _llama_like()
_BERT_CLASSIFIER = HeadSpec(
    "bert", readers=("bert.pooler.dense",), trained=("bert.pooler", "classifier")
)
_DISTILBERT_CLASSIFIER = HeadSpec(
    "distilbert", readers=("pre_classifier",), trained=("pre_classifier", "classifier")
)

FAMILIES: Mapping[str, ArchSpec] = {
    "bert": _bert_like("bert", classifier=_BERT_CLASSIFIER),
    "roberta": _bert_like(
        "roberta",
        classifier=HeadSpec("roberta", readers=("classifier.dense",), trained=("classifier",)),
    ),
    "distilbert": _bert_like(
        "distilbert",
        classifier=_DISTILBERT_CLASSIFIER,
        layers="transformer.layer",
        sub_blocks=_DISTILBERT_LAYER,
        tables=("word", "position"),
    ),
    "t5": _t5_like(is_gated=False),
    "mt5": _t5_like(is_gated=False),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "gemma": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _llama_like(extra=("self_attn.q_norm", "self_attn.k_norm")),
}
"""``config.model_type`` of transformers -> how the family is laid out."""
GATED: Mapping[str, ArchSpec] = {name: _t5_like(is_gated=True) for name in ("t5", "mt5")}
"""The same where the configuration asks for a gated feed-forward part (T5 v1.1 and later)."""


def family_named(model_type: str, feed_forward_proj: str = "") -> ArchSpec:
    """The layout of a family.

    Args:
        model_type: ``config.model_type`` of transformers.
        feed_forward_proj: ``config.feed_forward_proj`` of T5: ``relu`` or ``gated-gelu``.

    Returns:
        The layout.

    Raises:
        UnsupportedModelError: nobody has described it; with the families that are known.
    """
    table = GATED if feed_forward_proj.startswith("gated") else FAMILIES
    if model_type not in table:
        raise UnsupportedModelError(
            f"model family {model_type!r} is not supported; supported: {', '.join(FAMILIES)}"
        )
    return table[model_type]


def choose_head(spec: ArchSpec, family: str, task_kind: str) -> HeadKind:
    """The head with which a family solves a kind of task.

    Args:
        spec: the family's layout.
        family: its name, for the message.
        task_kind: ``classification``, ``regression``, ``qa``, ``summarization``, ``instruction``.

    Returns:
        The head.

    Raises:
        UnsupportedModelError: the family cannot do it.
    """
    for head in (*GENERATIVE, ENCODER_TASKS.get(task_kind)):
        if head is not None and head in spec.heads:
            return head
    raise UnsupportedModelError(
        f"a model of family {family!r} cannot do a task of kind {task_kind!r}; "
        "choose one that writes text, such as t5 or llama"
    )
