"""Kills at seeded moments for a sweep that runs as a command: strike, run the command again, wait.

Nothing here knows how the sweep recovers. Victims are found among the descendants of the command,
so that other clusters and servers of the machine are never touched.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).parents[1]
VICTIMS: Mapping[str, tuple[str, ...]] = {
    "worker": ("ray::RayTrainWorker", "ray::_RayTrainWorker"),
    "controller": ("ray::TrainController",),
    "trial driver": ("ray::ImplicitFunc",),
    "raylet": ("/raylet/raylet ",),
    "tracking server": ("-m mlflow server",),
}
"""What stands in the command line of a process of this kind."""
SWEEP = "sweep"
"""The command itself."""
KINDS = (*VICTIMS, SWEEP)
STEPS_BETWEEN = (5, 40)
"""So many new steps are logged before the next strike."""
POLL_S = 0.05


@dataclass(frozen=True)
class Strike:
    """One SIGKILL that was sent."""

    kind: str
    at_steps: int
    """Lines in the trials' metric logs at that moment."""
    process: str


@dataclass
class Chaos:
    """A sweep's command, run again whenever it ended without having finished."""

    recipe: Path
    results: Path
    seed: int
    deadline: float
    strikes: list[Strike] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)
    seen: dict[int, psutil.Process] = field(default_factory=dict)
    """Every process that was ever below the command."""

    def run(self, kinds: Sequence[str], max_launches: int) -> None:
        """Run until the command succeeds, and meanwhile strike once per kind, in a seeded order."""
        chance = random.Random(self.seed)
        order = list(kinds)
        chance.shuffle(order)
        todo = [(kind, chance.randint(*STEPS_BETWEEN)) for kind in order]
        while self.launch(todo, chance) != 0:
            assert len(self.exit_codes) < max_launches, self.story()
        assert todo == [], f"the sweep was over before {todo}: {self.story()}"

    def launch(self, todo: list[tuple[str, int]], chance: random.Random) -> int:
        """Run the command once, strike as long as there is something to do; its exit code."""
        log = self.results.parent / f"launch-{len(self.exit_codes)}.log"
        with log.open("wb") as file:
            sweep = subprocess.Popen(
                [sys.executable, "-m", "jobs.cli", "sweep", "-c", str(self.recipe)],
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            self._strike_while_it_runs(sweep, todo, chance)
            self.exit_codes.append(self._wait(sweep))
        finally:
            sweep.kill()
            sweep.wait()
        return self.exit_codes[-1]

    def story(self) -> str:
        """What happened, for a failed assertion."""
        logs = [self.results.parent / f"launch-{n}.log" for n in range(len(self.exit_codes) + 1)]
        tails = [f"{log}:\n{log.read_text()[-3000:]}" for log in logs if log.exists()]
        return "\n".join([f"{self.strikes} exit codes {self.exit_codes}", *tails])

    def left_over(self, timeout_s: float) -> list[str]:
        """What is still there of all processes that were seen, when the time is up."""
        _, alive = psutil.wait_procs(list(self.seen.values()), timeout=timeout_s)
        return [line for process in alive if (line := command_line(process))]

    def num_logged(self) -> int:
        """Steps in all metric logs; more of them means that somebody trains."""
        logs = self.results.glob("*/trials/*/metrics.jsonl")
        return sum(last_step(log) for log in logs)

    def _strike_while_it_runs(
        self, sweep: "subprocess.Popen[bytes]", todo: list[tuple[str, int]], chance: random.Random
    ) -> None:
        steps_before, fallen = self.num_logged(), list[psutil.Process]()
        while todo and sweep.poll() is None:
            self._check_time()
            time.sleep(POLL_S)
            if any(command_line(process) for process in fallen):
                steps_before = self.num_logged()  # what dies with the last victim still trains
                continue
            kind, more = todo[0]
            victims = self._victims(sweep, kind)
            if victims and abs(self.num_logged() - steps_before) >= more:
                fallen = self._kill(chance.choice(victims), kind)
                del todo[0]

    def _victims(self, sweep: "subprocess.Popen[bytes]", kind: str) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(sweep.pid)
            below = root.children(recursive=True)
            self.seen |= {process.pid: process for process in below}
            if kind == SWEEP:
                return [root]
            return [p for p in below if any(name in command_line(p) for name in VICTIMS[kind])]
        return []

    def _kill(self, victim: psutil.Process, kind: str) -> list[psutil.Process]:
        """Strike; the victim and all below it, which are to die with it."""
        self.strikes.append(Strike(kind, self.num_logged(), command_line(victim)[:80]))
        with suppress(psutil.NoSuchProcess):
            family = [victim, *victim.children(recursive=True)]
            victim.kill()
            return family
        return []

    def _wait(self, sweep: "subprocess.Popen[bytes]") -> int:
        while sweep.poll() is None:
            self._check_time()
            time.sleep(POLL_S)
        return int(sweep.returncode)

    def _check_time(self) -> None:
        assert time.monotonic() < self.deadline, f"out of time: {self.story()}"


def command_line(process: psutil.Process) -> str:
    """Empty for a process that is gone."""
    with suppress(psutil.Error):
        if process.status() != psutil.STATUS_ZOMBIE:
            return " ".join(process.cmdline())
    return ""


def last_step(log: Path) -> int:
    """Of a metric log that somebody may be writing; 0 without a whole line."""
    with suppress(OSError, ValueError, IndexError):
        return int(json.loads(log.read_bytes().rpartition(b"\n")[0].splitlines()[-1])["step"])
    return 0
