"""What workers send each other in one optimizer step."""

from apt_core.capacity.memory import GRADIENT_STAGE, PARAMETER_STAGE, Division, Params


def step_traffic(params: Params, width: int, division: Division, num_micro_batches: int = 1) -> int:
    """Bytes that one worker sends, and as many that it receives.

    ZeRO (arXiv 1910.02054, section 7), with P_t parameters that learn, P in all, m micro-batches
    and N workers: plain and stages 0 and 1 send ``2 P_t`` (reduce-scatter and all-gather), stage 2
    reduces after every micro-batch, ``(m + 1) P_t``; stage 3 gathers all weights, frozen ones too,
    for every forward and every backward pass: ``m P_t + 2 m P``. Each times ``(N - 1) / N`` and the
    width of a value.

    Args:
        params: how many there are.
        width: bytes of a value.
        division: the stage and N.
        num_micro_batches: m.

    Returns:
        The count; 0 for one worker.
    """
    trained, micro = params.trained, num_micro_batches
    if division.stage >= PARAMETER_STAGE:
        values = micro * trained + 2 * micro * params.total
    elif division.stage >= GRADIENT_STAGE:
        values = (micro + 1) * trained
    else:
        values = 2 * trained
    return round(values * width * (division.num_workers - 1) / division.num_workers)
