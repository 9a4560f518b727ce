"""What stands in the place of parts that are gone, and what T5 needs to keep its positions.

Travels with every exported model: torch and the standard library only.
"""

from typing import Any, Literal

from torch import Tensor, nn

TABLE = "relative_attention_bias"
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Bypass(nn.Module):
    """Takes the place of a module whose sub-block is gone.

    Args:
        gives: ``input``: hands one of its inputs through; ``zero``: gives nothing to add.
        input_position: which positional input; where the caller names it, ``hidden_states``.
        num_outputs: length of the tuple to return, filled up with None; 0: a bare tensor.
        cache_layer: index in the key/value cache whose length this layer keeps; None: no cache.
    """

    def __init__(
        self,
        gives: Literal["input", "zero"],
        *,
        input_position: int = 0,
        num_outputs: int = 0,
        cache_layer: int | None = None,
    ) -> None:
        super().__init__()
        self.gives = gives
        self.input_position = input_position
        self.num_outputs = num_outputs
        self.cache_layer = cache_layer

    def forward(
        self, *inputs: Tensor, past_key_values: Any = None, **named: Any
    ) -> Tensor | tuple[Tensor | None, ...]:
        """Return the chosen input, or a zero that broadcasts."""
        given = len(inputs) > self.input_position
        x: Tensor = inputs[self.input_position] if given else named["hidden_states"]
        if past_key_values is not None and self.cache_layer is not None:
            self._keep_length(x, past_key_values)
        chosen = x if self.gives == "input" else x.new_zeros(())
        if self.num_outputs == 0:
            return chosen
        return (chosen, *[None] * (self.num_outputs - 1))

    def _keep_length(self, x: Tensor, cache: Any) -> None:
        # Positions and masks are counted from the first cached layer, which may be this one.
        cache = getattr(cache, "self_attention_cache", cache)
        placeholder = x.new_zeros(x.shape[0], 1, x.shape[1], 1)
        cache.update(placeholder, placeholder, self.cache_layer)


def share_position_table(attention: Any, shared: nn.Embedding) -> None:
    """Give an attention layer of T5 a table of relative positions: at first the shared parameter.

    Args:
        attention: a layer without a table, changed in place.
        shared: the table of its stack's first layer.
    """
    own = nn.Embedding(shared.num_embeddings, shared.embedding_dim, _weight=shared.weight.data)
    own.weight = shared.weight
    setattr(attention, TABLE, own)
    attention.has_relative_attention_bias = True


def without_bias(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Arguments:
    """Drop the bias of another layer, so that the attention computes its own (a forward hook)."""
    return args, named | {"position_bias": None}


def with_zero_bias(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Arguments:
    """Put a bias of zero, for attention that has no positions (a forward hook)."""
    hidden: Tensor = args[0] if args else named["hidden_states"]
    return args, named | {"position_bias": hidden.new_zeros(1, 1, 1, 1)}
