"""Numbers of a task that compiled functions take as arguments.

A task names, in `traced`, whole numbers of its own on which no shape depends.
Tasks that differ in these alone share whatever is compiled.
"""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from seqjax.typing import Array

Numbers = dict[str, Int[Array, '']]


def split(task: Any) -> tuple[Any, Numbers]:
  """Returns a task that is equal for all values of its numbers, and these."""
  names = getattr(task, 'traced', ())
  numbers = {name: getattr(task, name) for name in names}
  numbers = {
    name: np.asarray(number, np.int32) if isinstance(number, int) else number
    for name, number in numbers.items()
  }
  return join(task, dict.fromkeys(names, 0)), numbers


def join(task: Any, numbers: Mapping[str, int | Int[Array, '']]) -> Any:
  """Returns the task with other numbers, which may be tracers, unchecked."""
  if not numbers:
    return task
  joined = copy.copy(task)
  for name, number in numbers.items():
    object.__setattr__(joined, name, number)  # of a frozen dataclass
  return joined
