"""Hooks that look without touching."""

import pytest
import torch
from torch import Tensor, nn

from apt_core.salience.taps import sum_over_tokens, tap_input, tap_output


class Residual(nn.Module):
    """A stream that a layer reads and that goes on beside it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = Reader()

    def forward(self, stream: Tensor) -> Tensor:
        return stream + self.layer(hidden_states=stream, scale=2.0)


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, hidden_states: Tensor, scale: float) -> Tensor:
        return scale * self.linear(hidden_states)


def test_sums_leave_padding_out() -> None:
    values = torch.arange(12.0).reshape(2, 3, 2)
    tokens = torch.tensor([1.0, 1, 0, 1, 0, 0])
    assert sum_over_tokens(values, tokens).tolist() == [0 + 2 + 6, 1 + 3 + 7]


def test_sums_of_half_precision_do_not_overflow() -> None:
    values = torch.full((1, 4, 2), 60_000.0, dtype=torch.float16)
    total = sum_over_tokens(values, torch.ones(4))
    assert total.dtype is torch.float32
    assert total.tolist() == [240_000.0] * 2


@pytest.mark.parametrize("by_keyword", [True, False])
def test_the_gradient_of_a_tapped_input_is_that_of_its_module_alone(by_keyword: bool) -> None:
    model = Residual()
    module = model.layer if by_keyword else model.layer.linear
    seen: list[Tensor] = []
    handle = tap_input(module, seen.append)
    stream = torch.randn(4, 3, requires_grad=True)
    output = model(stream)
    seen[0].retain_grad()
    output.sum().backward()
    through_layer = 2.0 * model.layer.linear.weight.sum(0).expand(4, 3)
    torch.testing.assert_close(seen[0].grad, through_layer)
    torch.testing.assert_close(stream.grad, through_layer + 1.0)
    assert torch.equal(seen[0], stream)
    handle.remove()
    model(stream)
    assert len(seen) == 1


def test_other_arguments_arrive_as_they_were_sent() -> None:
    reader = Reader()
    x = torch.randn(4, 3, requires_grad=True)
    expected = reader(x, 5.0)
    tap_input(reader, lambda _: None)
    assert torch.equal(reader(x, 5.0), expected)
    assert torch.equal(reader(x, scale=5.0), expected)
    assert torch.equal(reader(hidden_states=x, scale=5.0), expected)


class Tupled(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return 2 * x, None


def test_the_first_output_is_shown() -> None:
    seen: list[Tensor] = []
    plain, tupled = nn.Linear(3, 3), Tupled()
    tap_output(plain, seen.append)
    tap_output(tupled, seen.append)
    x = torch.randn(4, 3)
    outputs = [plain(x), tupled(x)[0]]
    assert all(a is b for a, b in zip(seen, outputs, strict=True))


def test_nothing_is_shown_where_no_gradient_will_flow() -> None:
    seen: list[Tensor] = []
    layer = nn.Linear(3, 3)
    tap_input(layer, seen.append)
    tap_output(layer, seen.append)
    with torch.no_grad():
        layer(torch.randn(4, 3))
    assert seen == []
    layer(torch.randn(4, 3))
    assert len(seen) == 2
