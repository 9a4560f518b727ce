"""How many trainable adapter parameters are allowed at each event. Standard library only."""

import math


def tuning_budget(
    event_index: int, num_events: int, initial_params: int, final_ratio: float
) -> int:
    """The tuning budget at an event: a line from the initial count to `final_ratio` times it.

    Formula (paper, section 4.3): ``Delta_k = Delta_0 + (ratio - 1) * Delta_0 * k / K``, so the
    first event already grows and the last one may spend everything.

    Args:
        event_index: k, from 1 for the first event to K for the last; 0 is the start.
        num_events: K, the number of events.
        initial_params: Delta_0, trainable adapter parameters at the start.
        final_ratio: Delta_T / Delta_0, at least 1.

    Returns:
        Parameters, rounded down.

    Raises:
        ValueError: When the index is outside ``0..num_events``.
    """
    if not 0 <= event_index <= num_events:
        raise ValueError(f"event_index must be in 0..{num_events}, got {event_index}")
    return initial_params + math.floor(
        (final_ratio - 1.0) * initial_params * event_index / num_events
    )
