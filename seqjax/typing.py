"""Array annotations and the small types that models and tasks share.

Axis letters, everywhere: B batch, T positions (queries), S positions attended
to, D features of the stream, H heads (G of keys and values), K key size,
V value size, N state size, C classes, L taps or window positions.
"""

import enum
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool

Array = jax.Array | np.ndarray
SPLITS = ('train', 'validation', 'test')


class Segments(NamedTuple):
  """Masks of segment starts and of valid positions: packing and padding in one.

  Slices like the data it belongs to. `seqjax.ops.segments` makes it from ids
  or lengths, and says what an `unroll` does with it.
  """

  start: Bool[Array, 'B T']
  valid: Bool[Array, 'B T']


class Batch(NamedTuple):
  """Inputs for a model, and targets for the task's own loss.

  `inputs` and `segments` go to the model; `targets` and `weights` (0 where
  nothing is scored) to the loss; `group` says what a score is split by
  (lag, length, position), one number per example or per position.
  """

  inputs: Any
  targets: Any
  weights: Any
  segments: Any = None
  group: Any = None


class Spec(NamedTuple):
  """The shape of one position, and its vocabulary if it has one.

  Tokens are `Spec((), vocab=10)`, vectors of three numbers `Spec((3,))`. Three
  tokens at one position of the outputs are `Spec((3,), vocab=10)`.
  """

  shape: tuple[int, ...] = ()
  vocab: int | None = None


class TaskShape(enum.StrEnum):
  """The number of positions that go in and come out.

  Inputs are [B T *I]; one-to-one tasks have T = 1. x-to-one tasks have targets
  and weights [B] and outputs [B C]; the others [B T] and [B T C]. One-to-many:
  the input stands at position 0, zeros after. Unaligned: inputs and segments
  are pairs (source, shifted target), targets are those of the second; token 0
  begins and ends a target.
  """

  ONE_TO_ONE = 'one-to-one'
  ONE_TO_MANY = 'one-to-many'
  MANY_TO_ONE = 'many-to-one'
  MANY_TO_MANY = 'many-to-many aligned'
  MANY_TO_MANY_UNALIGNED = 'many-to-many unaligned'
