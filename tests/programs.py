"""The operations of an NNX module and of its Linen module, to be compared."""

import functools
import re

import jax

from seqjax.nn import can_stream


def of_both(from_linen, mixer, x, segments) -> tuple[str, str]:
  """Returns the programs of a call, an unroll and a step, in NNX and Linen."""
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)

  def in_nnx(variables, x, segments):
    layer = from_linen(mixer, variables)
    return _results(mixer, layer, layer, x, segments)

  def in_linen(variables, x, segments):
    call = functools.partial(mixer.apply, variables)
    return _results(mixer, call, _Methods(mixer, variables), x, segments)

  given = variables, x, segments
  return _program(in_nnx, *given), _program(in_linen, *given)


class _Methods:
  """The methods of a Linen module, with its variables."""

  def __init__(self, mixer, variables):
    self._mixer, self._variables = mixer, variables

  def __getattr__(self, name):
    if name == 'initialize_carry':
      return self._mixer.initialize_carry
    return functools.partial(self._mixer.apply, self._variables, method=name)


def _results(mixer, call, layer, x, segments):
  y = call(x, segments)
  if isinstance(x, tuple):  # a source, and a target
    carry = layer.encode(x[0], segments[0])
    x, segments = x[1], segments[1]
  elif can_stream(mixer):
    carry = layer.initialize_carry(len(x))
  else:
    return y
  return y, layer.unroll(carry, x, segments), layer.step(carry, x[:, 0])


def _program(function, *args) -> str:
  """Returns the operations, without the addresses of what is inside."""
  return re.sub(r' at 0x\w+', '', str(jax.make_jaxpr(function)(*args)))
