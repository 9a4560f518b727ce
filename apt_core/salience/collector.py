"""Collect salience while the model trains, from activations and gradients seen by hooks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from apt_core.adapters.linear import APTLinear
from apt_core.models.arch import ModelMap, StackMap
from apt_core.models.calls import token_masks
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery
from apt_core.pruner.search import BlockSalience
from apt_core.salience import scores
from apt_core.salience.kurtosis import add_outlier_term
from apt_core.salience.merged import merged_weight
from apt_core.salience.taps import sum_over_tokens, tap_input, tap_output
from apt_core.trainer.distributed import all_reduce_sum, world_size

Sums = dict[str, Tensor]


@dataclass(frozen=True)
class Salience:
    """A snapshot of the running averages: what the policies decide on."""

    blocks: BlockSalience
    adapters: Mapping[str, float]
    """Importance I(H_apt) of every adapter, by site."""


@dataclass(frozen=True)
class CollectorSettings:
    """How salience is measured."""

    momentum: float = 0.85
    """Share of the past in the running average."""
    kurtosis_weight: float = 0.0
    """Weight of the outlier term (paper Eq. 5); 0: off."""
    importance: str = "paper"
    """``paper``: sum |W_B * grad|; ``signed``: mean over ranks of |sum W_A * grad|."""
    measure_blocks: bool = True
    """Off when nothing is pruned."""
    measure_adapters: bool = True
    """Off when no rank grows."""


class SalienceCollector:
    """Running salience of every block and every adapter (paper Eq. 3 to 5).

    Per block, the sums over batch and tokens of |H| and of |dL/dH| are kept apart until all
    micro-batches and workers are in, and only then multiplied. Pad tokens are excluded. H is the
    input of the projection that writes to the residual stream (heads, neurons), and the residual
    stream as each sub-block reads it and as the head reads it (hidden dimensions). Sums are
    divided by the number of tokens, so that long batches do not weigh more.

    Args:
        model: the student, with adapters.
        model_map: where its parts are.
        structure: its present structure.
        prefix: what stands before the student's parameter names in the engine's module.
        settings: how to measure.
    """

    def __init__(
        self,
        model: nn.Module,
        model_map: ModelMap,
        structure: Structure,
        *,
        prefix: str,
        settings: CollectorSettings,
    ) -> None:
        self.model = model
        self.model_map = model_map
        self.structure = structure
        self.prefix = prefix
        self.settings = settings
        self.averages: Sums = {}
        self.adapter_averages: dict[str, Tensor] = {}
        self._clear()

    def _clear(self) -> None:
        self._sums: Sums = {}
        self._num_tokens: Sums = {stack.stream: torch.zeros(()) for stack in self.model_map.stacks}

    @contextmanager
    def recording(self, batch: Mapping[str, Tensor]) -> Iterator[None]:
        """Count one forward and backward pass.

        Args:
            batch: what it runs on; says which tokens are real.
        """
        masks = token_masks(self.model_map.head_kind, batch)
        tokens = {stream: (mask != 0).reshape(-1).float() for stream, mask in masks.items()}
        for stream, counted in self._num_tokens.items():
            self._num_tokens[stream] = counted.to(tokens[stream].device) + tokens[stream].sum()
        handles: list[RemovableHandle] = []
        if self.settings.measure_blocks:
            handles += self._hook_blocks(tokens)
        if self.settings.measure_adapters:
            handles += self._hook_adapters()
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _alive(self) -> list[tuple[int, str]]:
        """(position in the map, name) of the sub-blocks that are left."""
        return [(i, s.name) for i, s in enumerate(self.structure.sub_blocks) if s.num_units > 0]

    def _hook_blocks(self, tokens: Sums) -> Iterator[RemovableHandle]:
        for index, name in self._alive():
            sub_block = self.model_map.sub_blocks[index]
            own = tokens[sub_block.stream]
            writer = self.model.get_submodule(sub_block.writer.path)
            yield tap_input(writer, self._recorder(f"units/{name}", own))
            reader = self.model.get_submodule(sub_block.residual_input)
            yield tap_input(reader, self._recorder(f"hidden/{name}", own))
        for stack in self.model_map.stacks:
            yield self._tap_stack(stack, tokens[stack.stream])

    def _tap_stack(self, stack: StackMap, tokens: Tensor) -> RemovableHandle:
        """The residual stream as whoever reads the whole stack sees it."""
        record = self._recorder(f"hidden/end of {stack.stream}", tokens)
        if stack.final_norm is None:
            return tap_output(self.model.get_submodule(stack.layers[-1]), record)
        return tap_input(self.model.get_submodule(stack.final_norm), record)

    def _recorder(self, key: str, tokens: Tensor) -> Callable[[Tensor], None]:
        def record(activation: Tensor) -> None:
            if not activation.requires_grad:
                return  # the embedding output of a frozen model: nothing flows back to it
            detached = activation.detach()
            self._add(f"activation/{key}", sum_over_tokens(detached.abs(), tokens))
            if self.settings.kurtosis_weight > 0 and key.startswith("units/"):
                self._add(f"mean/{key}", sum_over_tokens(detached, tokens))
            activation.register_hook(
                lambda grad: self._add(f"gradient/{key}", sum_over_tokens(grad.abs(), tokens))
            )

        return record

    def _hook_adapters(self) -> Iterator[RemovableHandle]:
        for site, parameter in self._adapter_parameters():
            # The hook must not return anything: a returned tensor would replace the gradient.
            yield parameter.register_hook(
                lambda grad, site=site: self._add(f"adapter/{site}", grad.detach().float())
            )

    def _adapter_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        for site in self.structure.ranks:
            layer = self.model.get_submodule(site)
            assert isinstance(layer, APTLinear)
            yield site, layer.lora_b if self.settings.importance == "paper" else layer.lora_a

    def _add(self, key: str, value: Tensor) -> None:
        self._sums[key] = self._sums[key] + value if key in self._sums else value.clone()

    def measure(
        self, full_parameters: Callable[[list[str]], dict[str, Tensor]], gradient_scale: float
    ) -> Salience:
        """This step's salience, reduced over workers; forgets the sums.

        Args:
            full_parameters: reads parameters of the engine's module by name.
            gradient_scale: factor on all gradients (fp16 loss scale), divided out here.

        Returns:
            The step's own values; `commit` folds them into the running averages.
        """
        sums = dict(sorted(self._sums.items()))
        counts = self._num_tokens
        self._clear()
        reduced = all_reduce_sum([*counts.values(), *sums.values()])
        counts = dict(zip(counts, reduced[: len(counts)], strict=True))
        sums = dict(zip(sums, reduced[len(counts) :], strict=True))
        # Each worker's loss is the mean over its own share of the batch.
        gradient_scale *= world_size()
        tokens = self._tokens_by_key(counts)
        blocks = self._block_salience(
            sums, {key: count * gradient_scale for key, count in tokens.items()}
        )
        if self.settings.kurtosis_weight > 0:
            means = {k[len("mean/units/") :]: v for k, v in sums.items() if k.startswith("mean/")}
            means = {name: v / tokens[f"units/{name}"] for name, v in means.items()}
            writers = self._writers()
            blocks = add_outlier_term(
                blocks,
                means,
                lambda name: merged_weight(self.model, writers[name], self.prefix, full_parameters),
                structure=self.structure,
                weight=self.settings.kurtosis_weight,
            )
        return Salience(blocks, self._adapter_importance(sums, full_parameters, gradient_scale))

    def _tokens_by_key(self, counts: Sums) -> Sums:
        """Number of tokens behind every sum."""
        keys = {f"hidden/end of {stream}": count for stream, count in counts.items()}
        for sub_block in self.structure.sub_blocks:
            for kind in ("units", "hidden"):
                keys[f"{kind}/{sub_block.name}"] = counts[sub_block.stream]
        return keys

    def _block_salience(self, sums: Sums, scales: Sums) -> BlockSalience:
        units: Sums = {}
        device = next(iter(scales.values())).device
        hidden = torch.zeros(self.structure.hidden_size, device=device)
        for sub_block in self.structure.sub_blocks:
            key = f"units/{sub_block.name}"
            units[sub_block.name] = torch.zeros(sub_block.num_units, device=device)
            if f"gradient/{key}" in sums:
                units[sub_block.name] = (
                    scores.block_salience(
                        sums[f"activation/{key}"],
                        sums[f"gradient/{key}"],
                        unit_width=sub_block.unit_width,
                    )
                    / scales[key]
                )
        for name, gradient in sums.items():
            key = name.removeprefix("gradient/")
            if name.startswith("gradient/hidden/"):
                activation = sums[f"activation/{key}"]
                hidden = hidden + scores.block_salience(activation, gradient) / scales[key]
        return BlockSalience(units=units, hidden=hidden)

    def _writers(self) -> dict[str, str]:
        """Sub-block -> path of its writing projection."""
        return {name: self.model_map.sub_blocks[i].writer.path for i, name in self._alive()}

    def _adapter_importance(
        self,
        sums: Sums,
        full_parameters: Callable[[list[str]], dict[str, Tensor]],
        gradient_scale: float,
    ) -> dict[str, float]:
        leaf = "lora_b" if self.settings.importance == "paper" else "lora_a"
        formula = scores.adapter_importance if leaf == "lora_b" else scores.signed_rank_importance
        sites = [site for site in self.structure.ranks if f"adapter/{site}" in sums]
        values = full_parameters([f"{self.prefix}{site}.{leaf}" for site in sites])
        importances = [
            formula(
                values[f"{self.prefix}{site}.{leaf}"].float(),
                sums[f"adapter/{site}"] / gradient_scale,
            )
            for site in sites
        ]
        if not sites:
            return {}
        return dict(zip(sites, torch.stack(importances).tolist(), strict=True))

    def commit(self, step_salience: Salience) -> None:
        """Fold one step into the running averages: S <- momentum * S + (1 - momentum) * step."""
        current = {f"units/{n}": v for n, v in step_salience.blocks.units.items()}
        current["hidden"] = step_salience.blocks.hidden
        current |= {f"adapter/{s}": torch.tensor(v) for s, v in step_salience.adapters.items()}
        for key, value in current.items():
            self.averages[key] = scores.ema(self.averages.get(key), value, self.settings.momentum)

    def snapshot(self) -> Salience | None:
        """The running averages, on the CPU; None before the first commit."""
        if "hidden" not in self.averages:
            return None
        averages = {key: value.cpu() for key, value in self.averages.items()}
        units = {k[len("units/") :]: v for k, v in averages.items() if k.startswith("units/")}
        adapters = {
            k[len("adapter/") :]: float(v) for k, v in averages.items() if k.startswith("adapter/")
        }
        return Salience(BlockSalience(units=units, hidden=averages["hidden"]), adapters)

    def remap(self, surgery: Surgery) -> None:
        """Follow a surgery: pruned blocks leave, and adapter importance starts anew."""
        self.structure = surgery.structure_after
        self._clear()
        if surgery.kept is not None and "hidden" in self.averages:
            self.averages["hidden"] = _select(self.averages["hidden"], surgery.kept.hidden)
            for name, kept in surgery.kept.units.items():
                key = f"units/{name}"
                self.averages[key] = _select(self.averages[key], kept)
        if surgery.kept is not None or surgery.rank_changes:
            for key in [key for key in self.averages if key.startswith("adapter/")]:
                del self.averages[key]

    def state(self) -> dict[str, Tensor]:
        """The running averages, for checkpoints."""
        return {key: value.detach().cpu().contiguous() for key, value in self.averages.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        self.averages = dict(state)


def _select(values: Tensor, kept_indices: Tensor) -> Tensor:
    return values.index_select(0, kept_indices.to(values.device))
