"""Packs pytrees of arrays and PRNG keys into one array of bytes, and back."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8


def pack(state: Any) -> tuple[UInt8[np.ndarray, ' bytes'], dict[str, dict]]:
  """Returns the bytes of all leaves, and a description of each by its path."""
  arrays, about = [], {}
  for path, leaf in _by_path(state).items():
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
    about[path] = {
      'leaf': _describe(leaf),
      'dtype': str(array.dtype),
      'shape': list(array.shape),
      'key': str(jax.random.key_impl(leaf)) if is_key else None,
    }
    arrays.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
  return np.concatenate(arrays), about


def difference(about: Mapping[str, dict], like: Any) -> str | None:
  """Returns the first difference between leaves and those of `like`."""
  there = {path: what['leaf'] for path, what in about.items()}
  needed = {path: _describe(leaf) for path, leaf in _by_path(like).items()}
  for path in {**there, **needed}:
    if there.get(path) != needed.get(path):
      return (
        f'at {path} it has {there.get(path, "nothing")}, but '
        f'{needed.get(path, "nothing")} is needed'
      )
  return None


def unpack(
  packed: UInt8[np.ndarray, ' bytes'], about: Mapping[str, dict], like: Any
) -> Any:
  """Returns what `pack` was given, on the devices of the leaves of `like`."""
  arrays, start = {}, 0
  for path, what in about.items():
    dtype = jnp.dtype(what['dtype'])  # numpy's own knows no bfloat16
    stop = start + math.prod(what['shape']) * dtype.itemsize
    arrays[path] = packed[start:stop].view(dtype).reshape(what['shape'])
    start = stop
  leaves = [
    _place(arrays[path], about[path]['key'], leaf)
    for path, leaf in _by_path(like).items()
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


def _by_path(tree: Any) -> dict[str, Any]:
  """Maps paths, as in 'params/readout/kernel', to leaves."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in leaves
  }


def _describe(leaf: Any) -> str:
  return f'{leaf.dtype}{list(leaf.shape)}'
