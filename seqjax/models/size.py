"""Parameter counts of models, and the width that gives a wanted one."""

import bisect
import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from seqjax.models import specs
from seqjax.models.seq2seq import Seq2Seq
from seqjax.nn.mixer import SequenceLayer

TOLERANCE = 0.1  # counts within a tenth of each other are called equal


def num_parameters(model: nn.Module) -> int:
  """Returns the number of entries of all parameters; nothing is allocated.

  Args:
    model: a mixer, or one of the models that read tokens or values.
  """
  leaves = jax.tree.leaves(variable_shapes(model))
  return sum(math.prod(leaf.shape) for leaf in leaves)


def variable_shapes(model: nn.Module) -> Any:
  """Returns the shapes of what `init` makes."""
  x = specs.shapes(specs.read_by(model), 1, 1)
  if isinstance(model, Seq2Seq):
    x = x, specs.shapes(model.output, 1, 1)
  return jax.eval_shape(model.init, jax.random.key(0), x)


def features_for(
  make: Callable[[int], SequenceLayer],
  parameters: int,
  *,
  multiple: int = 8,
  limit: int = 4096,
) -> int:
  """Returns the width at which a mixer comes nearest to a parameter count.

  Widths that the mixer refuses by a ValueError, when it is made or initialized,
  are skipped.

  Args:
    make: from a width to the mixer.
    parameters: the number wanted.
    multiple: widths are multiples of it; of half of it where none of those
      comes within a tenth, and so on down to 2.
    limit: the largest width tried.

  Raises:
    ValueError: no width that is accepted comes within a tenth of the number.
  """
  nearest = {}
  while True:
    nearest |= _nearest(make, parameters, multiple, limit)
    best = min(
      nearest, key=lambda w: abs(nearest[w] - parameters), default=None
    )
    if best and abs(nearest[best] - parameters) <= TOLERANCE * parameters:
      return best
    if multiple < 4:
      break
    multiple //= 2
  if best is None:
    raise ValueError(
      f'The mixer accepts no width in multiples of {multiple} up to {limit}; '
      f'of width {multiple} it says: {_refusal(make, multiple)}'
    )
  raise ValueError(
    f'No width in multiples of {multiple} gives {type(make(best)).__name__} '
    f'{parameters} parameters within a tenth; the nearest is width {best} with '
    f'{nearest[best]}. Choose another number of parameters.'
  )


def _nearest(make, parameters, multiple, limit) -> dict[int, int]:
  """Maps the accepted widths next to the wanted number to their counts.

  The last width with fewer parameters, and the first with as many or more.
  """

  @functools.cache
  def count(step: int) -> int | None:
    try:
      return num_parameters(make(step * multiple))
    except ValueError:
      return None

  def accepted(steps) -> int | None:
    return next((s for s in steps if count(s) is not None), None)

  steps = range(1, max(limit // multiple, 1) + 1)

  def enough(step: int) -> bool:
    """Returns True if the next accepted width has as many parameters."""
    above = accepted(range(step, steps.stop))
    return above is None or count(above) >= parameters

  first = 1 + bisect.bisect_left(steps, True, key=enough)
  neighbours = (
    accepted(range(first - 1, 0, -1)),
    accepted(range(first, steps.stop)),
  )
  return {s * multiple: count(s) for s in neighbours if s is not None}


def _refusal(make, width: int) -> str:
  """Returns the sentence by which a mixer refuses a width."""
  try:
    num_parameters(make(width))
  except ValueError as refusal:
    return str(refusal)
  return 'it is accepted.'
