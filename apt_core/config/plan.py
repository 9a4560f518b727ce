"""From durations to steps: the timetable of one run, checked before anything starts."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from apt_core.config.duration import Duration
from apt_core.config.experiment import ExperimentConfig
from apt_core.config.problems import Problem, raise_problems
from apt_core.pruner.schedule import SparsityScheduler, cubic_density, event_steps

_ROUNDING = 1e-9
_MAX_PERCENT = 100


@dataclass(frozen=True)
class PruneTimes:
    """When blocks are removed and ranks grow, in steps."""

    start: int
    """The schedule begins and salience is first collected; mu begins to rise."""
    warmup: int
    """Steps after `start` in which nothing is removed."""
    stop: int
    """Step of the last event; mu is at its end."""
    event_steps: tuple[int, ...]
    """Empty when the arm neither prunes nor grows ranks."""
    densities: tuple[float, ...]
    """Density to be reached at each event; all 1 when the arm does not prune."""
    window: int
    """Steps, up to and including an event, in which masks decay."""
    initial_density: float = 1.0
    """Density before the first event; below 1 after one-shot pruning before training."""

    def scheduler(self) -> SparsityScheduler:
        """The scheduler that answers questions about single steps."""
        return SparsityScheduler(
            self.event_steps,
            self.densities,
            self.window,
            self.start,
            self.stop,
            self.initial_density,
        )


NO_EVENTS = PruneTimes(start=0, warmup=0, stop=0, event_steps=(), densities=(), window=0)


@dataclass(frozen=True)
class TrainingPlan:
    """The timetable of one run. A step is one optimizer step; step 1 is the first."""

    total_steps: int
    steps_per_epoch: int
    warmup_steps: int
    """Steps in which the learning rate rises."""
    eval_every: int
    save_every: int
    log_every: int
    prune: PruneTimes
    distill_stop: int
    """Last step with a teacher; 0 when the arm does not distil."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class _Clock:
    """Turns durations of one run into steps."""

    steps_per_epoch: int
    total_steps: int

    def steps(self, duration: Duration) -> int:
        return duration.steps(self.steps_per_epoch, self.total_steps)

    def interval(self, duration: Duration) -> int:
        return max(1, self.steps(duration))


def plan_training(config: ExperimentConfig, num_train_rows: int) -> TrainingPlan:
    """Work out every step number of a run.

    An epoch has ``ceil(rows / batch_size)`` steps. Event steps and densities: see
    `apt_core.pruner.schedule`. An impossible schedule is a `ConfigError` with every reason, the
    numbers, and what to set.

    Args:
        config: A valid configuration.
        num_train_rows: Rows (windows, in question answering with an encoder) of one epoch: those
            that are trained on, see `DataConfig.num_trained_rows`.

    Returns:
        The timetable.
    """
    clock = _clock(config, num_train_rows)
    training, distillation = config.training, config.distillation
    warmup_steps = clock.steps(training.warmup)
    prune = _prune_times(config, clock) if config.switches.has_events else NO_EVENTS
    distill_stop = 0
    if config.switches.distill:
        distill_stop = min(clock.steps(distillation.stop), clock.total_steps)

    problems = [*_schedule_problems(config, clock, prune)]
    if warmup_steps > clock.total_steps:
        wrong = f"{warmup_steps} steps are more than the {clock.total_steps} of the whole run"
        given = str(training.warmup)
        problems.append(Problem("training.warmup", wrong, 'shorten it, or write "6%"', given))
    if config.switches.distill and distill_stop < prune.stop <= clock.total_steps:
        problems.append(_distillation_too_short(config, clock, prune, distill_stop))
    raise_problems(problems)
    return TrainingPlan(
        total_steps=clock.total_steps,
        steps_per_epoch=clock.steps_per_epoch,
        warmup_steps=warmup_steps,
        eval_every=clock.interval(training.eval_every),
        save_every=clock.interval(training.save_every),
        log_every=clock.interval(training.log_every),
        prune=prune,
        distill_stop=distill_stop,
    )


def _clock(config: ExperimentConfig, num_train_rows: int) -> _Clock:
    training = config.training
    steps_per_epoch = max(1, math.ceil(num_train_rows / training.batch_size))
    epochs = training.num_epochs or 0.0
    total = training.max_steps or max(1, round(epochs * steps_per_epoch))
    return _Clock(steps_per_epoch, total)


def _prune_times(config: ExperimentConfig, clock: _Clock) -> PruneTimes:
    """The timetable by formula; `_schedule_problems` says whether it can be kept."""
    pruning = config.pruning
    if config.switches.pruning_method == "before_training":
        return NO_EVENTS
    start, stop = clock.steps(pruning.start), clock.steps(pruning.stop)
    if config.switches.pruning_method == "one_shot":
        stop = max(1, stop)  # the cut comes after a step
        return PruneTimes(start, 0, stop, (stop,), (1.0 - pruning.target_sparsity,), window=0)
    if config.switches.pruning_method == "l0_gates":
        return _gate_times(config, clock)
    warmup, window = clock.steps(pruning.warmup), clock.steps(pruning.window)
    count = pruning.event_count
    if pruning.update_frequency is not None:
        every = clock.interval(pruning.update_frequency)
        count = (stop - start) // every
        # The last event must reach the target, so the curve ends there.
        stop = start + max(count, 0) * every
    steps = event_steps(start, stop, count) if count and stop > start else ()
    final = 1.0 - pruning.target_sparsity if config.switches.prune else 1.0
    initial = 1.0 - pruning.pre_tuning_sparsity if config.switches.prune else 1.0
    if stop - start <= warmup:
        return PruneTimes(start, warmup, stop, steps, (initial,) * len(steps), window, initial)
    curve = partial(
        cubic_density,
        start=start,
        stop=stop,
        warmup=warmup,
        final_density=final,
        initial_density=initial,
    )
    return PruneTimes(start, warmup, stop, steps, tuple(map(curve, steps)), window, initial)


def _gate_times(config: ExperimentConfig, clock: _Clock) -> PruneTimes:
    """Gates learn from `start`, at the earliest behind the first step, to the one cut at `stop`."""
    pruning = config.pruning
    start, stop = max(1, clock.steps(pruning.start)), clock.steps(pruning.stop)
    densities = (1.0 - pruning.target_sparsity,)
    window = max(0, stop - start)
    return PruneTimes(start, clock.steps(pruning.warmup), stop, (stop,), densities, window)


def _schedule_problems(
    config: ExperimentConfig, clock: _Clock, prune: PruneTimes
) -> Iterator[Problem]:
    if prune is NO_EVENTS:
        return
    if config.switches.pruning_method == "one_shot":
        yield from _ends_too_late(config, clock, prune)
        return
    if config.switches.pruning_method == "l0_gates":
        yield from _gate_problems(config, clock, prune)
        return
    if not prune.event_steps:
        yield _no_room(config, prune)
        return
    yield from _ends_too_late(config, clock, prune)
    edges = (prune.start, *prune.event_steps)
    if len(set(edges)) < len(edges):
        room = prune.stop - prune.start
        wrong = f"{len(prune.event_steps)} events do not fit into {room} steps"
        todo = f"set it to {room} or less, or move pruning.stop"
        yield Problem("pruning.num_events", wrong, todo, len(prune.event_steps))
    elif config.switches.prune:
        yield from _mask_problems(config, prune)


def _gate_problems(config: ExperimentConfig, clock: _Clock, prune: PruneTimes) -> Iterator[Problem]:
    if prune.stop <= prune.start:
        yield _stops_before_start(config, prune)
        return
    yield from _ends_too_late(config, clock, prune)
    yield from _warmup_problems(config, prune)


def _warmup_problems(config: ExperimentConfig, prune: PruneTimes) -> Iterator[Problem]:
    room = prune.stop - prune.start
    if room <= prune.warmup:
        wrong = f"{prune.warmup} steps leave none of the {room} from pruning.start to pruning.stop"
        todo = "set it shorter, or move pruning.stop"
        yield Problem("pruning.warmup", wrong, todo, str(config.pruning.warmup))


def _no_room(config: ExperimentConfig, prune: PruneTimes) -> Problem:
    pruning = config.pruning
    frequency, stop = pruning.update_frequency, pruning.stop
    if frequency is not None:
        wrong = (
            f"no event fits between pruning.start (step {prune.start}) and pruning.stop ({stop})"
        )
        todo = "set it shorter, or move pruning.stop"
        return Problem("pruning.update_frequency", wrong, todo, str(frequency))
    return _stops_before_start(config, prune)


def _stops_before_start(config: ExperimentConfig, prune: PruneTimes) -> Problem:
    wrong = f"is step {prune.stop}, not after pruning.start, which is step {prune.start}"
    todo = "set pruning.stop later or pruning.start earlier"
    return Problem("pruning.stop", wrong, todo, str(config.pruning.stop))


def _ends_too_late(config: ExperimentConfig, clock: _Clock, prune: PruneTimes) -> Iterator[Problem]:
    if prune.stop > clock.total_steps:
        wrong = f"is step {prune.stop}, after the last step of the run, {clock.total_steps}"
        todo = f'set it to at most "{clock.total_steps} steps", or to a share such as "40%"'
        yield Problem("pruning.stop", wrong, todo, str(config.pruning.stop))


def _mask_problems(config: ExperimentConfig, prune: PruneTimes) -> Iterator[Problem]:
    pruning, window = config.pruning, prune.window
    if problems := list(_warmup_problems(config, prune)):
        yield from problems
        return
    scheduler = prune.scheduler()
    edges = (prune.start, *prune.event_steps)
    gaps = [
        after - before
        for index, (before, after) in enumerate(zip(edges, prune.event_steps, strict=False))
        if scheduler.prunes_at(index)
    ]
    if not gaps:
        return
    if window > min(gaps):
        wrong = f"{window} steps are longer than the {min(gaps)} between two events"
        fewer = "fewer events (pruning.num_events or update_frequency)"
        todo = f'set it to at most "{min(gaps)} steps", or {fewer}, or a later pruning.stop'
        yield Problem("pruning.window", wrong, todo, str(pruning.window))
    if window * pruning.mask_step < 1 - _ROUNDING:
        needed = math.ceil(1 / pruning.mask_step - _ROUNDING)
        reached = (
            f"{window} steps x mask_step {pruning.mask_step:g} = {window * pruning.mask_step:g}"
        )
        # Rounded up, so that the advice itself holds.
        step = math.ceil(1e4 / window) / 1e4 if window else 1
        remedy = f"or pruning.mask_step to {step:g} or more" if window else "or more"
        todo = f'set it to "{needed} steps" or longer, {remedy}'
        wrong = f"is too short for masks to fall from 1 to 0: {reached} < 1"
        yield Problem("pruning.window", wrong, todo, str(pruning.window))


def _distillation_too_short(
    config: ExperimentConfig, clock: _Clock, prune: PruneTimes, distill_stop: int
) -> Problem:
    wrong = f"is step {distill_stop}, before pruning ends at step {prune.stop}"
    percent = math.ceil(_MAX_PERCENT * prune.stop / clock.total_steps)
    todo = f'set it to "{percent}%" or more, or pruning.stop earlier, or ablation to w/o_Ds'
    return Problem("distillation.stop", wrong, todo, str(config.distillation.stop))
