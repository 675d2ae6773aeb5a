"""A state as one array of bytes, and back: pytrees of arrays and PRNG keys."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8


def pack(state: Any) -> tuple[UInt8[np.ndarray, ' bytes'], dict[str, dict]]:
  """The leaves one after the other, and what each is, by its path."""
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
  """Where the leaves are not those of `like`: the first path, and both."""
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
  """What `pack` was given, on the devices that the leaves of `like` are on."""
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
  """An array or the key of that kind, where `like` is."""
  leaf = jnp.array(array)
  if key is not None:
    leaf = jax.random.wrap_key_data(leaf, impl=key)
  if isinstance(like, jax.Array) and not like.committed:
    return leaf  # jax may choose the device
  sharding = getattr(like, 'sharding', None)
  return leaf if sharding is None else jax.device_put(leaf, sharding)


def _by_path(tree: Any) -> dict[str, Any]:
  """Every leaf by its path, as in 'params/readout/kernel'."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in leaves
  }


def _describe(leaf: Any) -> str:
  return f'{leaf.dtype}{list(leaf.shape)}'
