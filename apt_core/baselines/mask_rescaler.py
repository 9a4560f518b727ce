"""Real-valued masks for what stays: each sub-block of the cut model is to give what it gave."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from apt_core.adapters.linear import APTLinear
from apt_core.baselines.mask_factors import output_equations, solve_factors
from apt_core.models.arch import ModelMap, SubBlockMap
from apt_core.models.calls import call_model, token_masks
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.masks import apply_masks, binary_masks
from apt_core.pruner.surgery import kept_channels

Batch = Mapping[str, Tensor]
MAX_BATCHES = 8


class Seen(NamedTuple):
    """What one sub-block did to the real tokens of one batch."""

    inputs: Tensor
    """(tokens, channels) in front of the writing projection."""
    stream: Tensor
    """(tokens, hidden) of the residual stream behind it, before a norm."""


class MaskRescaler:
    """Fits the factors of kept units by least squares [Kwon et al. 2022, mask tuning].

    Goes through the sub-blocks in model order. Each is fitted on the masked model's own inputs,
    with the factors found so far, to the residual stream that the unpruned model has behind it: so
    it also makes up for errors in front of it. The paper's own target is a model of density
    sqrt(target); APT's authors fitted to the unpruned one.

    Every sub-block costs two forward passes without gradients over at most `MAX_BATCHES` batches,
    one with and one without masks, which end where the sub-block does: all together about
    `MAX_BATCHES` whole forward passes per sub-block. What is kept meanwhile is one stream
    of these batches and a matrix of the sub-block's kept channels.

    Args:
        model_map: where the model's parts are.
        half: whether forward passes run in bf16.
    """

    def __init__(self, model_map: ModelMap, *, half: bool = False) -> None:
        self.model_map = model_map
        self.half = half

    @torch.no_grad()
    def factors(
        self, model: nn.Module, structure: Structure, kept: KeptBlocks, batches: Iterable[Batch]
    ) -> dict[str, Tensor]:
        """The factor of every kept unit.

        Args:
            model: a task model with injected adapters, unmasked before and after, in evaluation
                mode, on the device of the batches.
            structure: its present structure.
            kept: the blocks that stay.
            batches: the first `MAX_BATCHES` of them are used.

        Returns:
            Sub-block name -> factors, in fp64 on the CPU, of those that keep anything.
        """
        used = list(islice(batches, MAX_BATCHES))
        masks = binary_masks(structure, kept)
        found: dict[str, Tensor] = {}
        for sub_block in self.model_map.sub_blocks:
            units = kept.units[sub_block.name]
            if units.numel() == 0:
                continue
            apply_masks(model, self.model_map, None)
            targets = [self._run(model, sub_block, batch).stream for batch in used]
            apply_masks(model, self.model_map, masks)
            found[sub_block.name] = self._fit(model, sub_block, units, used, targets).cpu()
            masks.units[sub_block.name][units] = found[sub_block.name].float()
        apply_masks(model, self.model_map, None)
        return found

    def _fit(
        self,
        model: nn.Module,
        sub_block: SubBlockMap,
        units: Tensor,
        batches: Sequence[Batch],
        targets: Sequence[Tensor],
    ) -> Tensor:
        writer = _writer_of(model, sub_block)
        channels = kept_channels(units, sub_block.unit_width).to(writer.weight.device)
        weight = writer.merged_weight()[:, channels]
        gram = torch.zeros(len(units), len(units), dtype=torch.float64, device=weight.device)
        moments = gram.new_zeros(len(units))
        for batch, target in zip(batches, targets, strict=True):
            seen = self._run(model, sub_block, batch)
            error = target - seen.stream
            more = output_equations(seen.inputs[:, channels], weight, error, sub_block.unit_width)
            gram, moments = gram + more[0], moments + more[1]
        return solve_factors(gram, moments)

    def _run(self, model: nn.Module, sub_block: SubBlockMap, batch: Batch) -> Seen:
        """One forward pass, up to and including a sub-block's writing projection."""
        device_type = next(model.parameters()).device.type
        with (
            _watching(model, sub_block) as seen,
            torch.autocast(device_type, torch.bfloat16, enabled=self.half),
            suppress(_ReachedError),
        ):
            call_model(model, self.model_map.head_kind, batch)
        is_real = token_masks(self.model_map.head_kind, batch)[sub_block.stream] != 0
        stream = seen["residual"].float() + seen["output"].float()
        return Seen(seen["inputs"][is_real], stream[is_real])


class _ReachedError(Exception):
    """The forward pass has come far enough."""


@contextmanager
def _watching(model: nn.Module, sub_block: SubBlockMap) -> Iterator[dict[str, Tensor]]:
    """Keep what a sub-block reads and writes, and leave the forward pass there."""
    seen: dict[str, Tensor] = {}

    def keep_residual(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen["residual"] = args[0] if args else next(iter(kwargs.values()))

    def keep_output(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        seen.update(inputs=args[0], output=output)
        raise _ReachedError

    reader = model.get_submodule(sub_block.residual_input)
    handles = [
        reader.register_forward_pre_hook(keep_residual, with_kwargs=True),
        _writer_of(model, sub_block).register_forward_hook(keep_output),
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _writer_of(model: nn.Module, sub_block: SubBlockMap) -> APTLinear:
    writer = model.get_submodule(sub_block.writer.path)
    assert isinstance(writer, APTLinear)
    return writer
