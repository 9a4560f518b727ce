"""Gives back what dead controllers have reserved: Ray keeps it as long as the sweep lives.

Ray frees a placement group when the actor *and* the job that made it are gone. For a controller
that is killed it has a helper process, which asks the dashboard whether the controller lives (a
private cluster has none), and which hears of a reservation only when the workers are up. Every
other controller that is killed takes a slot with it; a sweep without slots waits for ever.
"""

import logging
import time
from collections.abc import Iterator
from typing import Any

import ray
from ray import tune
from ray._private.state import state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.util.placement_group import PlacementGroup, remove_placement_group

logger = logging.getLogger(__name__)

PERIOD_S = 2.0


def free_orphans() -> int:
    """Free the reservations of this job whose maker is a dead actor.

    Returns:
        How many there were.
    """
    orphans = list(_orphans())
    for orphan in orphans:
        remove_placement_group(orphan)
    return len(orphans)


def _orphans() -> Iterator[PlacementGroup]:
    job = bytes.fromhex(ray.get_runtime_context().get_job_id())
    for record in state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(record)
        is_ours = group.creator_job_id == job and group.state != group.REMOVED
        if is_ours and group.creator_actor_id and _is_dead(group.creator_actor_id.hex()):
            yield PlacementGroup(ray.PlacementGroupID(group.placement_group_id))


def _is_dead(actor_id: str) -> bool:
    # The group's own record says so, too, but not where the actor died while it was being made.
    return bool(state.actor_table(actor_id).get("State") == "DEAD")


class FreeOrphans(tune.Callback):
    """Looks every two seconds; Tune makes a step several times a second."""

    def __init__(self) -> None:
        self._next_look = 0.0

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Free what controllers that died since the last look have left behind."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + PERIOD_S
        if num := free_orphans():
            logger.info("reservations of dead controllers that were freed: %d", num)
