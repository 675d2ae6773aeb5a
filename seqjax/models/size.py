"""How many parameters a model has, and which width gives a wanted number."""

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
  """The number of entries of all parameters; nothing is allocated.

  Args:
    model: a mixer, or one of the models that read tokens or values.
  """
  leaves = jax.tree.leaves(variable_shapes(model))
  return sum(math.prod(leaf.shape) for leaf in leaves)


def variable_shapes(model: nn.Module) -> Any:
  """The shapes of what `init` makes."""
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
  """The width at which a mixer comes nearest to a number of parameters.

  Args:
    make: from a width to the mixer.
    parameters: the number wanted.
    multiple: widths are multiples of it; of half of it where none of those
      comes within a tenth, and so on down to 2.
    limit: the largest width tried.

  Raises:
    ValueError: no width comes within a tenth of the number.
  """
  counts = _nearest(make, parameters, multiple, limit)
  best = min(counts, key=lambda width: abs(counts[width] - parameters))
  if abs(counts[best] - parameters) <= TOLERANCE * parameters:
    return best
  if multiple >= 4:
    return features_for(make, parameters, multiple=multiple // 2, limit=limit)
  listed = ', '.join(f'{n} at width {w}' for w, n in counts.items())
  raise ValueError(
    f'No width in multiples of {multiple} gives {type(make(best)).__name__} '
    f'{parameters} parameters within a tenth; the nearest are {listed}. '
    'Choose another number of parameters.'
  )


def _nearest(make, parameters, multiple, limit) -> dict[int, int]:
  """{width: parameters} of the last width with fewer, and the first with more.

  Or of the smallest, or the largest width, where all lie on one side.
  """
  low, high = 1, limit // multiple
  while low < high:  # the first width with at least so many parameters
    middle = (low + high) // 2
    if num_parameters(make(middle * multiple)) < parameters:
      low = middle + 1
    else:
      high = middle
  widths = max(low - 1, 1) * multiple, low * multiple
  return {width: num_parameters(make(width)) for width in widths}
