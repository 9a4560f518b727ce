"""Which trials of a sweep must wait for others: those whose teacher is one of its trials."""

from collections.abc import Sequence

from orchestrator.execution.status import TrialState, trial_state, write_status
from orchestrator.execution.trial import TrialSpec


def teachers_first(trials: Sequence[TrialSpec]) -> tuple[list[TrialSpec], list[TrialSpec]]:
    """Trials that can start at once, and those that need one of them to have finished.

    Args:
        trials: Trials in the order in which they are wanted.

    Returns:
        Both groups, each in the same order.
    """
    waiting = [trial for trial in trials if trial.needs is not None]
    return [trial for trial in trials if trial.needs is None], waiting


def has_its_teacher(trial: TrialSpec) -> bool:
    """Whether a trial's teacher has finished; without it the trial has failed, and that is noted.

    Args:
        trial: The trial.

    Returns:
        Whether it can start.
    """
    needed = trial.needed_dir
    if needed is None or trial.needs is None:
        return True
    if trial_state(needed, trial.needs) is TrialState.FINISHED:
        return True
    reason = f"its teacher, run {trial.needs}, has no result; see there"
    write_status(trial.run_dir, TrialState.FAILED, reason=reason)
    return False
