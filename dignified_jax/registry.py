"""Frozen dataclasses registered by name: what a configuration's section with a `name` may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")
C = TypeVar("C", bound=type)


class Registry(Mapping[str, type[T]], Generic[T]):
    """Classes of one kind by their attribute `name`, in the order in which they were registered.

    A dataclass's field `part: Annotated[Part, PARTS]` is a section that says `part.name` and the
    fields of the class of that name.
    """

    def __init__(self, kind: str, base: type[T]) -> None:
        """
        Args:
          kind: of the classes, for messages.
          base: that they inherit from.
        """
        self.kind = kind
        self._base = base
        self._classes: dict[str, type[T]] = {}

    def register(self, cls: C) -> C:
        """Adds a class; fit as a decorator, above that of the dataclass.

        Raises:
          TypeError: it is not a dataclass, does not inherit from the registry's base, has no
            `name`, or has a field of that name.
          ValueError: another class has its name.
        """
        label = f"{self.kind} {cls.__name__}"
        if not issubclass(cls, self._base):
            raise TypeError(f"{label} must inherit from {self._base.__name__}")
        if "__dataclass_fields__" not in vars(cls):
            raise TypeError(f"{label} must be a dataclass; put register above its decorator")
        name = getattr(cls, "name", None)
        if not isinstance(name, str) or not name:
            raise TypeError(f"{label} needs a class attribute name, a string; found {name!r}")
        if "name" in {field.name for field in dataclasses.fields(cls)}:
            raise TypeError(f"{label}: name must be a class attribute, not a field")
        other = self._classes.get(name)
        # The same class again is a module that was loaded again, as notebooks do.
        if other is not None and _origin(other) != _origin(cls):
            raise ValueError(f"{label}: {other.__name__} has the name {name!r} already")
        self._classes[name] = cls
        return cls

    def __getitem__(self, name: str) -> type[T]:
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)


def _origin(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__
