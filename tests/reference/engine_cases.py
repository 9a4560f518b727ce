"""What every engine must do, as functions that run in workers and return numbers to assert on."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional

from apt_core.trainer.distributed import rank, world_size
from apt_core.trainer.engine import Precision
from tests.reference.engine_tools import (
    Kind,
    largest_difference,
    largest_resume_difference,
    loaded,
    make_engine,
    oracle,
    rebuilt,
    train,
)
from tests.reference.tiny_modules import TinyTrained, tiny_batch, tiny_surgery

KINDS: list[Kind] = ["torch", 0, 1, 2, 3]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
RESUMES = [(kind, precision) for kind in KINDS for precision in PRECISIONS]


def run_on_one_worker(folder: str) -> dict[str, Any]:
    """Every case in one process, which imports DeepSpeed once."""
    save_after(folder, RESUMES, 0, 3)
    return {
        "oracle": check_against_oracle(KINDS),
        "oracle_accumulating": check_against_oracle(KINDS, accumulation_steps=2),
        "resume": check_resume(RESUMES),
        "leaks": check_leaks(KINDS),
        "hooks": check_hooks(KINDS),
        "overflow": check_overflow([0, 1, 2, 3]),
        "not_finite": check_not_finite(KINDS),
        "odd_shapes": check_odd_shapes(KINDS),
    }


def run_on_two_workers(folder: str) -> dict[str, Any]:
    """The cases in which dividing among workers matters."""
    return {
        "oracle": check_against_oracle(KINDS),
        "resume": check_resume(
            [("torch", "fp32"), (0, "fp32"), (1, "bf16"), (2, "fp32"), (3, "bf16")]
        ),
        "leaks": check_leaks([3], num_rebuilds=3),
        "hooks": check_hooks([2, 3]),
        "overflow": check_overflow([0, 3]),
        "not_finite": check_not_finite(["torch", 1]),
        "odd_shapes": check_odd_shapes(["torch", 3]),
    }


def check_against_oracle(kinds: list[Kind], accumulation_steps: int = 1) -> dict[str, list[float]]:
    """Six steps, a surgery after the third: largest difference of weights and of norms."""
    num_shares = world_size() * accumulation_steps
    expected, expected_norms = oracle(num_shares, 6, surgery_at=3)
    differences = {}
    for kind in kinds:
        engine = make_engine(kind, TinyTrained(), accumulation_steps=accumulation_steps)
        norms = train(engine, range(3), accumulation_steps=accumulation_steps)
        snapshot = engine.harvest()
        module = engine.release()
        snapshot = snapshot.after(tiny_surgery(module))
        engine = make_engine(kind, module, snapshot, accumulation_steps=accumulation_steps)
        norms += train(engine, range(3, 6), accumulation_steps=accumulation_steps)
        of_norms = max(abs(a - b) for a, b in zip(norms, expected_norms, strict=True))
        differences[str(kind)] = [largest_difference(engine.full_state(), expected), of_norms]
        engine.release()
    return differences


def check_resume(cases: list[tuple[Kind, Precision]]) -> dict[str, float]:
    """Six steps against three, harvest, a new engine, and three more; nothing may differ."""
    differences = {}
    for kind, precision in cases:
        straight = make_engine(kind, TinyTrained(), precision=precision)
        train(straight, range(6))
        resumed = make_engine(kind, TinyTrained(), precision=precision)
        train(resumed, range(3))
        resumed = rebuilt(resumed, kind, precision)
        train(resumed, range(3, 6))
        differences[f"{kind} {precision}"] = largest_resume_difference(straight, resumed)
        straight.release(), resumed.release()
    return differences


def save_after(folder: str, cases: list[tuple[Kind, Precision]], start: int, stop: int) -> None:
    """Train on from the state that an earlier process left in `folder`; leave the new one there."""
    for kind, precision in cases:
        path = Path(folder, f"{kind}-{precision}.pt")
        if start:
            state, snapshot = torch.load(path, weights_only=False)
            engine = make_engine(kind, loaded(state), snapshot, precision=precision)
        else:
            engine = make_engine(kind, TinyTrained(), precision=precision)
        train(engine, range(start, stop))
        torch.save((engine.full_state(), engine.harvest()), path)
        if not start:  # what the run would have become without the interruption
            train(engine, range(stop, 2 * stop))
            torch.save((engine.full_state(), engine.harvest()), path.with_suffix(".straight"))
        engine.release()


def check_leaks(
    kinds: list[Kind], num_rebuilds: int = 10, *, precision: Precision = "fp32"
) -> dict[str, list[tuple[int, ...]]]:
    """Live hooks, engines, tensors and their bytes: after the second rebuild and after the last."""
    counts: dict[str, list[tuple[int, ...]]] = {}
    for kind in kinds:
        module: nn.Module = TinyTrained()
        snapshot = None
        attributes = {name: set(child.__dict__) for name, child in module.named_modules()}
        rows = []
        gc.collect()
        gc.disable()  # memory must go by reference counts: nobody waits for the collector on a GPU
        for number in range(num_rebuilds):
            engine = make_engine(kind, module, snapshot, precision=precision)
            train(engine, range(2))
            snapshot = engine.harvest()
            module = engine.release()
            del engine
            if number in (1, num_rebuilds - 1):
                rows.append(_settled(module))
        gc.enable()
        left = {n: set(m.__dict__) ^ attributes[n] for n, m in module.named_modules()}
        assert not any(left.values()), left
        counts[str(kind)] = rows
    return counts


def _settled(module: nn.Module) -> tuple[int, ...]:
    """The least of a few looks: gloo's threads let go of a finished collective's tensors late."""
    looks = []
    for _ in range(5):
        looks.append(_live(module))
        time.sleep(0.05)
    return min(looks)


def _live(module: nn.Module) -> tuple[int, ...]:
    hooks = sum(
        len(child._forward_hooks) + len(child._forward_pre_hooks) + len(child._backward_hooks)
        for child in module.modules()
    )
    objects = gc.get_objects()
    tensors = [o for o in objects if issubclass(type(o), Tensor)]
    engines = sum(type(o).__name__ == "DeepSpeedEngine" for o in objects)
    return hooks, engines, len(tensors), sum(t.numel() * t.element_size() for t in tensors)


def check_hooks(kinds: list[Kind], accumulation_steps: int = 2) -> dict[str, float]:
    """Hooks on leaf parameters and activations against autograd: largest relative difference."""
    differences = {}
    for kind in kinds:
        engine = make_engine(kind, TinyTrained(), accumulation_steps=accumulation_steps)
        train(engine, range(1), accumulation_steps=accumulation_steps)
        plain = loaded(engine.full_state())
        seen: dict[str, list[Tensor]] = {}
        expected: dict[str, list[Tensor]] = {}
        with _recording(engine.module, seen), _recording(plain, expected):
            for micro in range(accumulation_steps):
                inputs, labels = tiny_batch(1, rank() * accumulation_steps + micro)
                engine.backward(engine(inputs, labels, functional.cross_entropy).loss)
                plain.zero_grad()
                plain(inputs, labels, functional.cross_entropy).loss.backward()
        names = [*seen.keys() - {"activation"}, "student.up.weight"]
        full = engine.full_parameters(names)  # between backward and step, as salience does
        assert all(torch.equal(full[name], plain.get_parameter(name)) for name in names)
        engine.step(0.01)
        assert seen.keys() == expected.keys()
        assert all(len(seen[name]) == accumulation_steps for name in seen)
        pairs = [
            (a, b / accumulation_steps)
            for n in seen
            for a, b in zip(seen[n], expected[n], strict=True)
        ]
        differences[str(kind)] = max(((a - b).norm() / b.norm()).item() for a, b in pairs)
        engine.release()
    return differences


@contextmanager
def _recording(module: nn.Module, seen: dict[str, list[Tensor]]) -> Iterator[None]:
    """Record the gradients of two trainable leaves and of one activation."""

    def keep(name: str, gradient: Tensor) -> None:
        seen.setdefault(name, []).append(gradient.detach().clone())

    def on_forward(_: nn.Module, inputs: Any, output: Tensor) -> None:
        output.register_hook(partial(keep, "activation"))

    leaves = ("student.up.lora_b", "student.down.lora_a")
    handles = [module.get_parameter(name).register_hook(partial(keep, name)) for name in leaves]
    handles.append(module.get_submodule("student.up").register_forward_hook(on_forward))
    yield
    for handle in handles:
        handle.remove()


def check_overflow(stages: list[int]) -> dict[str, dict[str, Any]]:
    """fp16 with the device check switched off: two steps, an overflow, a resume, more steps."""
    from deepspeed.accelerator import get_accelerator

    results = {}
    with mock.patch.object(type(get_accelerator()), "is_fp16_supported", return_value=True):
        for stage in stages:
            engine = make_engine(stage, TinyTrained(), precision="fp16")
            scale = engine.gradient_scale
            norms = train(engine, range(2))
            before, moments = engine.full_state(), engine.harvest()
            inputs, labels = tiny_batch(2, rank())
            if rank() == world_size() - 1:  # one worker is enough
                inputs = inputs * torch.inf
            engine.backward(engine(inputs.half(), labels, functional.cross_entropy).loss)
            outcome = engine.step(0.01)
            results[str(stage)] = {
                "scale_before": scale,
                "overflowed": outcome.overflowed,
                "grad_norm": outcome.grad_norm,
                "loss_scale": outcome.loss_scale,
                "moved": largest_difference(before, engine.full_state()),
                "steps_kept": engine.harvest().steps == moments.steps,
                "norms": norms,
            }
            scaler = engine.harvest().loss_scaler
            twin = rebuilt(engine, stage, "fp16")
            results[str(stage)]["scaler_restored"] = twin.harvest().loss_scaler == scaler
            results[str(stage)]["scale_halved"] = twin.gradient_scale < scale
            results[str(stage)]["norms_after"] = train(twin, range(2, 5))
            twin.release()
    return results


def check_not_finite(kinds: list[Kind]) -> dict[str, list[Any]]:
    """In fp32 too, a step with nan gradients changes nothing and says so."""
    results = {}
    for kind in kinds:
        engine = make_engine(kind, TinyTrained())
        train(engine, range(1))
        before = engine.full_state()
        inputs, labels = tiny_batch(1, rank())
        engine.backward(engine(inputs * torch.nan, labels, functional.cross_entropy).loss)
        outcome = engine.step(0.01)
        moved = largest_difference(before, engine.full_state())
        after = train(engine, range(1, 2))[0]
        results[str(kind)] = [outcome.overflowed, outcome.grad_norm, moved, after]
        engine.release()
    return results


def check_odd_shapes(kinds: list[Kind]) -> dict[str, float]:
    """All neurons gone (size zero), a projection that joins later, evaluation between steps."""
    states = {}
    for kind in kinds:
        module: nn.Module = TinyTrained()
        del module.projection
        module.projection = nn.Linear(6, 6).requires_grad_(False)
        for name, dim in [
            ("up.weight", 0),
            ("up.bias", 0),
            ("up.lora_b", 0),
            ("down.weight", 1),
            ("down.lora_a", 1),
        ]:
            old = module.get_parameter(f"student.{name}")
            shape = list(old.shape)
            shape[dim] = 0
            owner = module.get_submodule("student." + name.split(".")[0])
            setattr(owner, name.split(".")[1], nn.Parameter(torch.empty(shape), old.requires_grad))
        engine = make_engine(kind, module)
        train(engine, range(2))
        with torch.no_grad():
            engine.module(*tiny_batch(0), functional.cross_entropy)
        train(engine, range(2, 4))
        snapshot, module = engine.harvest(), engine.release()
        module.projection.requires_grad_(True)
        engine = make_engine(kind, module, snapshot)
        train(engine, range(4, 6))
        steps = engine.harvest().steps
        assert steps["projection.weight"] == 2.0, steps
        assert steps["student.head.weight"] == 6.0, steps
        name = "student.norm.weight"
        assert torch.equal(engine.full_parameters([name])[name], engine.full_state()[name])
        states[str(kind)] = engine.full_state()
        engine.release()
    first = states[str(kinds[0])]
    return {kind: largest_difference(first, state) for kind, state in states.items()}
