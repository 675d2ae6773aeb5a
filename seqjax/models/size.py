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
MULTIPLES, WIDEST = (8, 4, 2), 4096  # of the widths that are tried


def num_parameters(model: Any, *inputs: Any) -> int:
  """Returns the number of entries of all parameters; nothing is allocated.

  Args:
    model: a mixer, or one of the models that read tokens or values; any Linen
      module, with inputs; or a tree of parameters.
    inputs: what a Linen module that is not of seqjax is initialised with.
  """
  if isinstance(model, nn.Module):
    model = variable_shapes(model, *inputs).get('params', {})
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(model))


def variable_shapes(model: nn.Module, *inputs: Any) -> Any:
  """Returns the shapes of what `init` makes, by default for what it reads."""
  if not inputs:
    x = specs.shapes(specs.read_by(model), 1, 1)
    if isinstance(model, Seq2Seq):
      x = x, specs.shapes(model.output, 1, 1)
    inputs = (x,)
  return jax.eval_shape(model.init, jax.random.key(0), *inputs)


def features_for(make: Callable[[int], SequenceLayer], parameters: int) -> int:
  """Returns the width at which a mixer comes nearest to a parameter count.

  Widths are multiples of 8 up to 4096; of 4 where none of those comes within a
  tenth, and then of 2. Those that the mixer refuses by a ValueError, when it is
  made or initialized, are skipped.

  Args:
    make: from a width to the mixer.
    parameters: the number wanted.

  Raises:
    ValueError: no width that is accepted comes within a tenth of the number.
  """
  nearest = {}
  for multiple in MULTIPLES:
    nearest |= _nearest(make, parameters, range(multiple, WIDEST + 1, multiple))
    if not nearest:
      continue
    best = min(nearest, key=lambda width: abs(nearest[width] - parameters))
    if abs(nearest[best] - parameters) <= TOLERANCE * parameters:
      return best
  if not nearest:
    raise ValueError(
      f'The mixer accepts no even width up to {WIDEST}; of width {multiple} it '
      f'says: {_refusal(make, multiple)}'
    )
  raise ValueError(
    f'No width in multiples of {multiple} gives {type(make(best)).__name__} '
    f'{parameters} parameters within a tenth; the nearest is width {best} with '
    f'{nearest[best]}. Choose another number of parameters.'
  )


def _nearest(make, parameters: int, widths: range) -> dict[int, int]:
  """Maps the accepted widths next to the wanted number to their counts.

  The last width with fewer parameters, and the first with as many or more.
  """

  @functools.cache
  def count(width: int) -> int | None:
    try:
      return num_parameters(make(width))
    except ValueError:
      return None

  def accepted(candidates: range) -> int | None:
    return next((w for w in candidates if count(w) is not None), None)

  def enough(index: int) -> bool:
    """Returns True if the next accepted width has as many parameters."""
    above = accepted(widths[index:])
    return above is None or count(above) >= parameters

  first = bisect.bisect_left(range(len(widths)), True, key=enough)
  found = accepted(widths[:first][::-1]), accepted(widths[first:])
  return {width: count(width) for width in found if width is not None}


def _refusal(make, width: int) -> str:
  """Returns the sentence by which a mixer refuses a width."""
  try:
    num_parameters(make(width))
  except ValueError as refusal:
    return str(refusal)
  return 'it is accepted.'
