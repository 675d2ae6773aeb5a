"""Takes states apart into named arrays on the host, and puts them together."""

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def named(tree: Any) -> dict[str, Any]:
  """Maps paths, as in 'params/readout/kernel', to leaves."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in leaves
  }


def on_host(leaf: Any) -> np.ndarray:
  """Returns a copy of an array, or of the numbers that a PRNG key consists of.

  A copy even on a CPU, where the array's own memory is used again by an update.
  """
  return np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def describe(leaf: Any, array: np.ndarray) -> dict[str, Any]:
  """Returns what it takes to restore a leaf and to know that it is sound.

  Args:
    leaf: an array or a PRNG key.
    array: the leaf on the host.
  """
  return {
    'leaf': _kind(leaf),
    'dtype': str(array.dtype),
    'shape': list(array.shape),
    'key': str(jax.random.key_impl(leaf)) if _is_key(leaf) else None,
    'checksum': checksum(array),
  }


def checksum(array: np.ndarray) -> int:
  """Returns the CRC-32 of an array's bytes."""
  return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def difference(about: Mapping[str, dict], like: Any) -> str | None:
  """Returns the first difference between leaves and those of `like`."""
  there = {path: what['leaf'] for path, what in about.items()}
  needed = {path: _kind(leaf) for path, leaf in named(like).items()}
  for path in {**there, **needed}:
    if there.get(path) != needed.get(path):
      return (
        f'at {path} it has {there.get(path, "nothing")}, but '
        f'{needed.get(path, "nothing")} is needed'
      )
  return None


def together(
  arrays: Mapping[str, np.ndarray], about: Mapping[str, dict], like: Any
) -> Any:
  """Returns arrays by their names in the structure of `like`.

  Args:
    arrays: what `on_host` has returned, by path.
    about: what `describe` has returned, by path.
    like: a state of the same leaves; each goes to where it is in this one.
  """
  leaves = [
    _place(arrays[path], about[path]['key'], leaf)
    for path, leaf in named(like).items()
  ]
  return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _place(array: np.ndarray, key: str | None, like: Any) -> jax.Array:
  """Returns an array, or a key of that kind, on the device of `like`."""
  leaf = jnp.array(array)
  if key is not None:
    leaf = jax.random.wrap_key_data(leaf, impl=key)
  if isinstance(like, jax.Array) and not like.committed:
    return leaf  # jax may choose the device
  sharding = getattr(like, 'sharding', None)
  return leaf if sharding is None else jax.device_put(leaf, sharding)


def _is_key(leaf: Any) -> bool:
  return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _kind(leaf: Any) -> str:
  return f'{leaf.dtype}{list(leaf.shape)}'
