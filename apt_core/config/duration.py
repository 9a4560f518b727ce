"""Lengths of training time: steps, epochs, or a share of the whole run."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*(steps?|epochs?|%)")
_HOW = 'write "200 steps", "3 epochs", "40%" (of all steps) or a whole number of steps'
_ALL = 100.0


@dataclass(frozen=True)
class Duration:
    """A length of training: ``200 steps``, ``3 epochs``, or ``40%`` of all steps."""

    amount: float
    unit: Literal["steps", "epochs", "%"]

    @classmethod
    def parse(cls, value: object) -> "Duration":
        """Read ``"200 steps"``, ``"3 epochs"``, ``"40%"`` or a whole number of steps.

        Args:
            value: What the user wrote.

        Returns:
            The duration.

        Raises:
            PydanticCustomError: When the value is none of these; the message says what to write.
        """
        if isinstance(value, Duration):
            return value
        text = f"{value} steps" if isinstance(value, int) else value
        match = _PATTERN.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None or isinstance(value, bool):
            raise PydanticCustomError("duration", f"is not a duration; {_HOW}")
        amount, unit = float(match[1]), match[2].rstrip("s")
        if unit == "step":
            if not amount.is_integer():
                raise PydanticCustomError("duration", f"is not a whole number of steps; {_HOW}")
            return cls(amount, "steps")
        if unit == "epoch":
            return cls(amount, "epochs")
        if amount > _ALL:
            raise PydanticCustomError("duration", f"is more than the whole run; {_HOW}")
        return cls(amount, "%")

    def steps(self, steps_per_epoch: int, total_steps: int) -> int:
        """This duration in optimizer steps, rounded to the nearest."""
        if self.unit == "steps":
            return int(self.amount)
        if self.unit == "epochs":
            return round(self.amount * steps_per_epoch)
        return round(self.amount * total_steps / _ALL)

    def __str__(self) -> str:
        """The duration as the user writes it; `parse` reads it back."""
        amount = int(self.amount) if self.amount == int(self.amount) else self.amount
        return f"{amount}%" if self.unit == "%" else f"{amount} {self.unit}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        """Validate with `parse`, write with `str`."""
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )


def _not_zero(duration: Duration) -> Duration:
    if duration.amount == 0:
        raise PydanticCustomError("duration", "must be longer than 0; " + _HOW)
    return duration


PositiveDuration = Annotated[Duration, AfterValidator(_not_zero)]
