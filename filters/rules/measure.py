"""What a measure is: a frozen dataclass whose fields are its options in a profile, called on a document.

The first line of its docstring is the meaning of its columns, with options in braces filled in.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar

import pyarrow as pa

from .document import Document


class Measure(ABC):
    """The base of every measure."""

    unit: ClassVar[str] = "share"
    type: ClassVar[pa.DataType] = pa.float64()
    """Shares are of 64 bits, so that a bound means the same here and in a criterion."""

    @property
    def meaning(self) -> str:
        """What its column tells."""
        options: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        told = {name: ", ".join(value) if isinstance(value, tuple) else value for name, value in options.items()}
        line = inspect.getdoc(type(self)) or ""
        said = line.split("\n")[0].rstrip(".").format(**told)
        return said[0].lower() + said[1:]

    @abstractmethod
    def __call__(self, document: Document) -> float | None:
        """Measure a document; None where there is nothing to take a share of."""


class Count(Measure):
    """A measure that counts."""

    unit: ClassVar[str] = ""
    type: ClassVar[pa.DataType] = pa.int32()
