"""Matmul FLOPs of a function, its scans counted as often as they run.

XLA's own `cost_analysis()` counts the body of a scan once, however long the
scan is, so that a recurrent network seems to cost what one of its steps costs.
Here the traced function is walked instead, and every body is multiplied by its
length. What no output needs is left out, as the compiler leaves it out: the
gradient of an input that nobody asked for, for example.

Counted are matrix products and convolutions alone, the dense ones: a
multiply-add is 2 FLOPs (8 between complex numbers), padding counts, the zeros
of a dilated input do not. Elementwise and integer arithmetic counts nothing. A
product that is the same at every step of a scan counts at every step, though
the compiler may move it out.
"""

import collections
import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn
from jax.interpreters import partial_eval

# These hide arithmetic that no jaxpr shows, or show it once for many runs.
_OPAQUE = (
  'cudnn_fusion',
  'custom_linear_solve',
  'dot_product_attention',
  'ffi_call',
  'io_callback',
  'pallas_call',
  'pure_callback',
  'ragged_dot_general',
  'scaled_matmul',
  'shard_map',
)


def count(function: Callable, *args) -> int:
  """Counts the matmul FLOPs of function(*args) without running it.

  `args` are pytrees of arrays or of `jax.ShapeDtypeStruct`. Of the branches of
  a condition the most costly one counts. Raises ValueError where the number is
  not known before running: matmuls in a while loop, or inside a primitive that
  hides them (a kernel, a callback).
  """
  return sum(count_by_dtype(function, *args).values())


def count_by_dtype(function: Callable, *args) -> dict[str, int]:
  """Counts as `count` does, apart for every dtype that operands have."""
  jaxpr = jax.make_jaxpr(function)(*args).jaxpr
  jaxpr, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
  return dict(_count(jaxpr))


def largest_array(function: Callable, *args) -> int:
  """Gives the bytes of the largest array that the traced function makes.

  A lower bound of what it needs in memory unless a compiler avoids the array,
  and known without compiling.
  """
  return _largest(jax.make_jaxpr(function)(*args).jaxpr)


def flops_per_multiply_add(dtype) -> int:
  """Gives 2 for real numbers, 8 for complex ones (4 products, 4 sums)."""
  return 8 if jnp.issubdtype(dtype, jnp.complexfloating) else 2


def _count(jaxpr: Jaxpr) -> collections.Counter:
  total = collections.Counter()
  for equation in jaxpr.eqns:
    total.update(_count_equation(equation))
  return total


def _largest(jaxpr: Jaxpr) -> int:
  sizes = [0]
  for equation in jaxpr.eqns:
    arrays = [v.aval for v in equation.outvars if hasattr(v.aval, 'dtype')]
    sizes += [a.size * a.dtype.itemsize for a in arrays]
    sizes += [_largest(body) for body in _bodies(equation)]
  return max(sizes)


def _count_equation(equation: JaxprEqn) -> collections.Counter:
  name = equation.primitive.name
  if name == 'dot_general':
    return _price(equation, _dot_multiply_adds(equation))
  if name == 'conv_general_dilated':
    return _price(equation, _convolution_multiply_adds(equation))
  if name.startswith(_OPAQUE):
    raise ValueError(
      f'The FLOPs of {name} ({_place(equation)}) cannot be counted; '
      'count them by hand and hand them over.'
    )
  bodies = [_count(body) for body in _bodies(equation)]
  if name == 'cond':
    return max(bodies, key=lambda body: body.total())
  total = sum(bodies, collections.Counter())
  if name == 'while' and total:
    raise ValueError(
      f'The while loop ({_place(equation)}) multiplies matrices a number of '
      'times that is known only when it runs; write it as a scan, or count '
      'its FLOPs by hand and hand them over.'
    )
  times = equation.params['length'] if name == 'scan' else 1
  return collections.Counter({k: v * times for k, v in total.items()})


def _bodies(equation: JaxprEqn) -> Iterator[Jaxpr]:
  """Yields the functions inside an equation: branches, a body, a callee."""
  for value in equation.params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      if isinstance(item, ClosedJaxpr):
        yield item.jaxpr
      elif isinstance(item, Jaxpr):
        yield item


def _price(equation: JaxprEqn, multiply_adds: int) -> collections.Counter:
  dtype = jnp.promote_types(*(v.aval.dtype for v in equation.invars[:2]))
  if not jnp.issubdtype(dtype, jnp.inexact):
    return collections.Counter()
  flops = flops_per_multiply_add(dtype) * multiply_adds
  return collections.Counter({dtype.name: flops})


def _dot_multiply_adds(equation: JaxprEqn) -> int:
  """Every output adds up as many products as the contracted axes have."""
  (contracted, _), _ = equation.params['dimension_numbers']
  left = equation.invars[0].aval.shape
  output = equation.outvars[0].aval.shape
  return math.prod(output) * math.prod(left[axis] for axis in contracted)


def _convolution_multiply_adds(equation: JaxprEqn) -> int:
  """Every output adds up the taps and input channels of its own filter."""
  params = equation.params
  kernel = equation.invars[1].aval.shape
  output = equation.outvars[0].aval.shape
  filters = kernel[params['dimension_numbers'].rhs_spec[0]]
  products = math.prod(output) * math.prod(kernel) // max(filters, 1)
  return products // math.prod(params['lhs_dilation'])


def _place(equation: JaxprEqn) -> str:
  return source_info_util.summarize(equation.source_info)
