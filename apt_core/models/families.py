"""The families that can be pruned, as data.

Adding one means adding an `ArchSpec` here, and no code elsewhere.
"""

from collections.abc import Mapping

from apt_core.models.arch import ArchSpec, BypassSpec, SubBlockSpec

_BERT_SUB_BLOCKS = (
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
        bypass=(BypassSpec("attention", input_position=0, as_tuple=True),),
        norm="attention.output.LayerNorm",
    ),
    SubBlockSpec(
        kind="ffn",
        name="ffn",
        readers=(("intermediate_dense", "intermediate.dense"),),
        writer=("output_dense", "output.dense"),
        residual_input="intermediate",
        bypass=(
            BypassSpec("intermediate", input_position=0),
            BypassSpec("output", input_position=1),
        ),
        norm="output.LayerNorm",
    ),
)


def _bert_like(base: str, *, head_readers: tuple[str, ...], head: tuple[str, ...]) -> ArchSpec:
    """Post-norm encoders that name their parts as BERT does."""
    tables = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    return ArchSpec(
        layers=f"{base}.encoder.layer",
        sub_blocks=_BERT_SUB_BLOCKS,
        embeddings=tuple(f"{base}.embeddings.{table}" for table in tables),
        norms=(f"{base}.embeddings.LayerNorm",),
        head_readers=head_readers,
        head=head,
    )


FAMILIES: Mapping[str, ArchSpec] = {
    "bert": _bert_like(
        "bert", head_readers=("bert.pooler.dense",), head=("bert.pooler", "classifier")
    ),
    "roberta": _bert_like("roberta", head_readers=("classifier.dense",), head=("classifier",)),
}
"""``config.model_type`` of transformers -> how its sequence classifier is laid out."""
