import signal
import subprocess
import sys

import psutil
import pytest

from orchestrator.execution import liveness
from orchestrator.execution.liveness import ClusterLostError, find_dead, vital_processes


def test_a_vital_process_that_is_killed_is_noticed_even_while_nobody_has_reaped_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        monkeypatch.setattr(liveness, "VITAL", (psutil.Process(process.pid).name(),))
        found = vital_processes()
        assert process.pid in [one.pid for one in found]
        mine = [one for one in found if one.pid == process.pid]
        assert find_dead(mine) is None
        process.send_signal(signal.SIGKILL)
        psutil.wait_procs(mine, timeout=0)
        while psutil.pid_exists(process.pid) and mine[0].status() != psutil.STATUS_ZOMBIE:
            pass
        dead = find_dead(mine)
        assert isinstance(dead, ClusterLostError)
        assert str(process.pid) in str(dead)
    assert isinstance(find_dead(mine), ClusterLostError)  # reaped by now


def test_a_cluster_that_others_started_has_no_processes_of_ours() -> None:
    assert vital_processes() == []
    assert find_dead([]) is None
