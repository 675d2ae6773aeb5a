"""Names and shapes of weights, compared with those that a layer has."""

from collections.abc import Mapping
from typing import Any

from seqjax.errors import misfits


def check(owner: str, given: Mapping[str, Any], expected: Mapping[str, Any]):
  """Raises ValueError unless names and shapes are those expected.

  Args:
    owner: the layer, as the sentence names it.
    given: arrays by name.
    expected: arrays, or their shapes, by name; an axis of a shape may be text,
      such as 'D'.
  """
  wrong = misfits(_described(expected), _described(given))
  if wrong:
    raise ValueError(f'The weights do not fit {owner}: {wrong}.')


def _described(arrays: Mapping[str, Any]) -> dict[str, str]:
  shapes = {name: getattr(a, 'shape', a) for name, a in arrays.items()}
  return {
    name: f'an array [{", ".join(map(str, shape))}]'
    for name, shape in shapes.items()
  }
