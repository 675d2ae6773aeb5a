"""Identities whose derivative changes what is passed back through them.

A `jax.custom_vjp` would do for gradients, but cannot be differentiated forward.
So this is an operation of its own, by the rules that JAX has for those: its
tangents are identities again, and its transpose is a function of the caller's.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

_identity = Primitive('change_cotangents')
_identity.multiple_results = True


def change_cotangents(
  arrays: Sequence[Any], change: Callable[..., Sequence[Any]], *constants: Any
) -> list[Any]:
  """Returns the arrays; `change` maps their cotangents to those of before.

  Args:
    arrays: floating arrays.
    change: from the cotangents of the arrays, a list, and the constants, to a
      list of the same shapes and dtypes.
    constants: trees of arrays that no gradient reaches.
  """
  leaves, structure = jax.tree.flatten(constants)
  leaves = [jax.lax.stop_gradient(jnp.asarray(leaf)) for leaf in leaves]

  def changed(cotangents, *leaves):
    return change(cotangents, *jax.tree.unflatten(structure, leaves))

  return _identity.bind(
    *leaves, *map(jnp.asarray, arrays), change=changed, count=len(leaves)
  )


def _same(*operands, change, count):
  del change
  return list(operands[count:])


def _differentiate(operands, tangents, *, change, count):
  tangents = map(ad.instantiate_zeros, tangents[count:])
  options = {'change': change, 'count': count}
  return (
    _identity.bind(*operands, **options),
    _identity.bind(*operands[:count], *tangents, **options),
  )


def _transpose(cotangents, *operands, change, count):
  cotangents = [*map(ad.instantiate_zeros, cotangents)]
  changed = change(cotangents, *operands[:count])
  return [None] * count + list(changed)


def _batch(operands, dims, *, change, count):
  """Moves the new axis to the front; arrays that lack it are repeated."""
  mapped = [d is not None for d in dims]
  size = next(
    a.shape[d] for a, d in zip(operands, dims, strict=True) if d is not None
  )
  operands = [
    a if d is None else jnp.moveaxis(a, d, 0)
    for a, d in zip(operands, dims, strict=True)
  ]
  constants, arrays = operands[:count], operands[count:]
  arrays = [
    a if known else jnp.broadcast_to(a, (size, *jnp.shape(a)))
    for a, known in zip(arrays, mapped[count:], strict=True)
  ]
  axes = [0 if known else None for known in mapped[:count]]
  made = _identity.bind(
    *constants,
    *arrays,
    change=jax.vmap(change, in_axes=(0, *axes)),
    count=count,
  )
  return made, [0] * len(made)


_identity.def_impl(_same)
_identity.def_abstract_eval(_same)
ad.primitive_jvps[_identity] = _differentiate
ad.primitive_transposes[_identity] = _transpose
batching.primitive_batchers[_identity] = _batch
mlir.register_lowering(_identity, mlir.lower_fun(_same, multiple_results=True))
