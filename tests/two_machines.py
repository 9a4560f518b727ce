"""Two machines for tests: network namespaces with a cable between them, or two loopback addresses.

Namespaces want the rights of root. There each machine has its own loopback, ports and routes, and
what listens on the loopback of one is not there for the other.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

LOOPBACK = ("127.0.0.2", "127.0.0.3")
"""Ray writes 127.0.0.1 as the host's own address; these it leaves alone."""
CABLE = ("10.211.7.1", "10.211.7.2")


@dataclass(frozen=True)
class Machine:
    """Where processes of a test run."""

    address: str
    enter: tuple[str, ...] = ()
    """What stands before a command that is to run there."""


@contextmanager
def two_machines() -> Iterator[tuple[Machine, Machine]]:
    """Two machines that reach each other and, as namespaces, nothing else."""
    names = [f"aptune-{os.getpid()}-{i}" for i in range(2)]
    with ExitStack() as stack:
        if not all(_add_namespace(name, stack) for name in names):
            first, second = map(Machine, LOOPBACK)
            yield first, second
            return
        _lay_cable(names)
        first, second = (
            Machine(address, ("ip", "netns", "exec", name))
            for address, name in zip(CABLE, names, strict=True)
        )
        yield first, second


def _add_namespace(name: str, stack: ExitStack) -> bool:
    if shutil.which("ip") is None:
        return False
    added = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if added.returncode == 0:
        stack.callback(_ip, "netns", "del", name)  # its end of the cable goes with it
    return added.returncode == 0


def _lay_cable(names: Sequence[str]) -> None:
    first, second = names
    end = ("type", "veth", "peer", "name", "cable", "netns", second)
    _ip("-n", first, "link", "add", "cable", *end)
    for name, address in zip(names, CABLE, strict=True):
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
        for device in ("lo", "cable"):
            _ip("-n", name, "link", "set", device, "up")
        # Ray and gloo ask for the way to the world to find out their own address.
        _ip("-n", name, "route", "add", "default", "dev", "cable")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
