"""From a configuration to the phases that `aptune plan` counts: shapes only, no weights."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from apt_core.bench.flops import Network, Rows
from apt_core.bench.networks import network_of
from apt_core.bench.phases import CONTROL, DISTILLING, TAUGHT, Phase
from apt_core.capacity.cut import guessed_cut
from apt_core.capacity.loss import Head, Teaching
from apt_core.capacity.memory import Params
from apt_core.capacity.phase import PlannedPhase
from apt_core.capacity.reading import embeddings_of, habits_of
from apt_core.config import ExperimentConfig
from apt_core.config.plan import plan_training
from apt_core.models.loading import LoadedModel, random_model
from apt_core.models.structure import Structure
from apt_core.trainer import build_parts as parts
from apt_core.trainer.build_bench_config import phases_of
from apt_core.trainer.build_method import kurtosis_weight

FIRST_CUT = replace(
    TAUGHT, name="first cut", meaning="the teacher keeps the dense weights, the student its own"
)
"""The fullest phase of a taught training: nearly two models. Counted with an uncut student."""


@dataclass(frozen=True)
class Subject:
    """A model on the meta device, adapted, and what is asked of it."""

    config: ExperimentConfig
    loaded: LoadedModel
    structure: Structure
    """Dense, with ranks."""
    rows: Rows
    width: int


def subject_of(config: ExperimentConfig, path: str, rows: Rows) -> Subject:
    """A model's shape with the arm's adapters; neither weights nor memory are needed.

    Args:
        config: the training.
        path: folder with a ``config.json``, hub id, or ``embedded:NAME``.
        rows: of a micro-batch; target tokens are dropped where nothing is written.

    Returns:
        The subject.
    """
    spec = config.data.spec
    with torch.device("meta"):
        loaded = random_model(
            path,
            task_kind=spec.task,
            num_labels=spec.num_labels,
            revision=config.model.revision,
            trust_remote_code=config.model.trust_remote_code,
            dropout=config.model.dropout,
        )
        structure = parts.adapt(config, loaded)
    if loaded.model_map.head_kind != "seq2seq_lm":
        rows = replace(rows, target_tokens=0)
    width = parts.DTYPES[config.hardware.precision].itemsize
    return Subject(config, loaded, structure, rows, width)


def planned_phases(
    subject: Subject, *, cut: Structure | None = None, train_rows: int | None = None
) -> tuple[PlannedPhase, ...]:
    """The phases that the arm goes through, see `phases_of`.

    Args:
        subject: model and training.
        cut: what pruning leaves; None: a guess, see `guessed_cut`.
        train_rows: rows of the dataset, for the number of steps; None: not known.

    Returns:
        One value per phase, the control left out.
    """
    found: list[Phase] = []
    for phase in phases_of(subject.config):
        if phase != CONTROL:
            found += [FIRST_CUT, phase] if phase == DISTILLING else [phase]
    steps = _steps(subject.config, found, train_rows)
    return tuple(
        planned_phase(subject, phase, cut=cut, num_steps=steps.get(phase.name)) for phase in found
    )


def planned_phase(
    subject: Subject,
    phase: Phase,
    *,
    cut: Structure | None = None,
    num_steps: int | None = None,
) -> PlannedPhase:
    """One phase.

    Args:
        subject: model and training.
        phase: which one.
        cut: what pruning leaves; None: a guess.
        num_steps: how long it is.

    Returns:
        The phase.
    """
    dense = _network(subject)
    network = _cut_network(subject, dense, cut) if phase.is_pruned else dense
    teaching = _teaching(subject, dense) if phase.distils else None
    has_own_weights = phase.is_pruned or phase == FIRST_CUT
    return PlannedPhase(
        phase.name,
        phase.meaning,
        network,
        _params(subject, phase, network, teaching, has_own_weights=has_own_weights),
        habits_of(subject.loaded),
        _head(subject, network),
        embeddings_of(subject.loaded),
        teaching,
        phase.reads_salience,
        subject.config.hardware.gradient_checkpointing,
        num_steps,
    )


def _steps(
    config: ExperimentConfig, phases: Sequence[Phase], train_rows: int | None
) -> Mapping[str, int]:
    """Optimizer steps by phase; empty where the dataset's size is not known."""
    if train_rows is None and config.training.max_steps is None:
        return {}
    plan = plan_training(config, train_rows or config.training.batch_size)
    counts = Counter(parts.phase_of(plan, step) for step in range(1, plan.total_steps + 1))
    if TAUGHT in phases:
        counts[TAUGHT.name] = counts.pop("pruning", 0)
    return {phase.name: counts[phase.name] for phase in phases if phase != FIRST_CUT}


def _network(subject: Subject) -> Network:
    return network_of(
        subject.loaded.model,
        subject.structure,
        subject.loaded.model_map.head_kind,
        subject.rows,
        all_learn=subject.config.switches.train_all_weights,
    )


def _cut_network(subject: Subject, dense: Network, cut: Structure | None) -> Network:
    """The network that is left; what reads the residual stream shrinks with it."""
    config = subject.config
    if cut is None:
        growth = config.tuning.max_tuning_params_ratio if config.switches.grow_ranks else 1.0
        density = 1.0 - config.pruning.target_sparsity
        cut = guessed_cut(subject.structure, density, growth)
    share = cut.hidden_size / subject.structure.hidden_size
    head = tuple(replace(layer, weights=round(layer.weights * share)) for layer in dense.head)
    return replace(dense, structure=cut, head=head)


def _params(
    subject: Subject,
    phase: Phase,
    network: Network,
    teaching: Teaching | None,
    *,
    has_own_weights: bool,
) -> Params:
    """Counts of a phase: what stands outside the layers shrinks with the hidden size."""
    model, whole, left = subject.loaded.model, subject.structure, network.structure
    counts = _count(model)
    share = left.hidden_size / whole.hidden_size
    inside = left.num_adapter_params() + (left.num_params() if network.all_learn else 0)
    outside = _outside_trained(subject)
    frozen = counts[False] - (0 if network.all_learn else whole.num_params())
    frozen = round(frozen * share) + (0 if network.all_learn else left.num_params())
    trained = inside + round(outside * share)
    teacher = 0
    if teaching is not None:
        theirs = teaching.teacher.structure.hidden_size
        trained += teaching.rank * (left.hidden_size + theirs)
        teacher = counts[True]
        if has_own_weights:
            teacher += counts[False] - (_still_shared(subject, left) if phase.is_pruned else 0)
    return Params(
        frozen,
        trained,
        teacher,
        _largest_writer(subject, left) if phase.reads_salience else 0,
        _salience_values(subject, left) if phase.reads_salience else 0,
    )


def _still_shared(subject: Subject, left: Structure) -> int:
    """Frozen weights that a cut has not touched: the teacher has them from the student."""
    whole = subject.structure
    if left.hidden_size != whole.hidden_size:
        return 0  # nearly every matrix has that side
    outside = _count(subject.loaded.model)[False] - whole.num_params()
    pairs = zip(left.sub_blocks, whole.sub_blocks, strict=True)
    return outside + sum(
        ours.num_params(left.hidden_size) for ours, theirs in pairs if ours == theirs
    )


def _count(model: nn.Module) -> Counter[bool]:
    """Parameters by whether they learn; shared ones once."""
    counts: Counter[bool] = Counter()
    for parameter in model.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    return counts


def _outside_trained(subject: Subject) -> int:
    """Of the parameters that learn, those outside the layers."""
    structure, all_learn = subject.structure, subject.config.switches.train_all_weights
    inside = structure.num_adapter_params() + (structure.num_params() if all_learn else 0)
    return _count(subject.loaded.model)[True] - inside


def _largest_writer(subject: Subject, left: Structure) -> int:
    """Weights of the largest matrix that the kurtosis of the salience is taken of."""
    if kurtosis_weight(subject.config, subject.loaded) == 0:
        return 0
    return max(s.num_units * s.unit_width for s in left.sub_blocks) * left.hidden_size


def _salience_values(subject: Subject, left: Structure) -> int:
    """Gradients of one factor of every branch, in fp32."""
    if not subject.config.switches.grow_ranks:
        return 0
    outputs: dict[str, int] = {}
    for s in left.sub_blocks:
        *readers, writer = s.sites
        outputs |= {site: s.num_units * s.sites[site] for site in readers}
        outputs[writer] = left.hidden_size
    if subject.config.tuning.importance == "paper":
        return sum(rank * outputs[site] for site, rank in left.ranks.items())
    widths = left.site_widths()
    return sum(rank * (widths[site] - outputs[site]) for site, rank in left.ranks.items())


def _teaching(subject: Subject, dense: Network) -> Teaching:
    distillation, model_map = subject.config.distillation, subject.loaded.model_map
    sampled = sum(
        min(distillation.num_teacher_layers, len(stack.layers)) for stack in model_map.stacks
    )
    return Teaching(
        dense, sampled, distillation.projection_rank, normalises=model_map.spec.is_pre_norm
    )


def _head(subject: Subject, network: Network) -> Head:
    """What is predicted per row, and what of it learns."""
    rows, kind = subject.rows, subject.loaded.model_map.head_kind
    config = subject.loaded.config
    logits = {
        "sequence_classification": int(getattr(config, "num_labels", 1)),
        "question_answering": 2 * rows.tokens,
        "seq2seq_lm": rows.target_tokens * int(config.vocab_size),
        "causal_lm": rows.tokens * int(config.vocab_size),
    }[kind]
    inputs = max((h.tokens for h in network.head if h.learns), default=0)
    share = network.structure.hidden_size / subject.structure.hidden_size
    outside = _outside_trained(subject) - embeddings_of(subject.loaded).trained
    gradients = round(outside * share) * subject.width
    return Head(logits, gradients, inputs * network.structure.hidden_size)
