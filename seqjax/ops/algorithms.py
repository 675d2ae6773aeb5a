"""Choices between algorithms: the names allowed, and what suits a platform."""

from collections.abc import Iterable
from typing import Any

import jax

from seqjax.errors import unknown


def check_algorithm(algorithm: str, known: Iterable[str]):
  """Raises ValueError unless the algorithm is one of those known."""
  if algorithm not in known:
    raise ValueError(unknown('algorithm', algorithm, known))


def by_platform(*, cpu: Any, accelerator: Any) -> Any:
  """Returns the choice for the default backend: a CPU, or a GPU or TPU."""
  return cpu if jax.default_backend() == 'cpu' else accelerator
