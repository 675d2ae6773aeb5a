"""The operations of an NNX module and of its Linen module, to be compared."""

import re

import jax

from seqjax.nn import can_stream


def of_both(from_linen, mixer, x, segments) -> tuple[str, str]:
  """Returns the programs of a call, an unroll and a step, in NNX and Linen."""
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)

  def in_nnx(variables, x, segments):
    layer = from_linen(mixer, variables)
    y = layer(x, segments)
    if not can_stream(mixer):
      return y
    carry = layer.initialize_carry(len(x))
    unrolled = layer.unroll(carry, x, segments)
    return y, unrolled, layer.step(carry, x[:, 0])

  def in_linen(variables, x, segments):
    y = mixer.apply(variables, x, segments)
    if not can_stream(mixer):
      return y
    carry = mixer.initialize_carry(len(x))
    unrolled = mixer.apply(variables, carry, x, segments, method='unroll')
    return y, unrolled, mixer.apply(variables, carry, x[:, 0], method='step')

  given = variables, x, segments
  return _program(in_nnx, *given), _program(in_linen, *given)


def _program(function, *args) -> str:
  """Returns the operations, without the addresses of what is inside."""
  return re.sub(r' at 0x\w+', '', str(jax.make_jaxpr(function)(*args)))
