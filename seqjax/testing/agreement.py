"""Agreement of tensors, as the laws of mixers ask for it."""

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.testing.laws import LawBroken

VACUOUS = 1e-6  # a tensor smaller than this proves nothing

# Largest difference allowed, as a share of the tensor's largest entry.
FORWARD = {'float64': 1e-10, 'float32': 1e-5, 'bfloat16': 3e-2}
BACKWARD = {'float64': 1e-10, 'float32': 1e-4}


def compare(law, what, given, expected, allowed):
  """Raises unless max|a - b| <= allowed max|b|; NaN never agrees."""
  given, expected = np.asarray(given), np.asarray(expected)
  if given.shape != expected.shape:
    raise LawBroken(law, f'{what} is {given.shape}, not {expected.shape}.')
  if not given.size:
    return
  if not np.isfinite(given).all():
    raise LawBroken(law, f'{what} is not finite.')
  difference = np.max(np.abs(given - expected))
  scale = np.max(np.abs(expected))
  if not difference <= allowed * scale:
    raise LawBroken(
      law,
      f'{what} differs by {difference:.1e} where the largest entry is '
      f'{scale:.1e} and a share of {allowed:.0e} is allowed.',
    )


def compare_exactly(law, what, given, expected):
  """Counters and masks."""
  if not np.array_equal(given, expected):
    raise LawBroken(law, f'{what} is {given}, not {expected}.')


def compare_zeros(law, what, *tensors):
  """Raises unless tensors that were said to be zero are."""
  for tensor in tensors:
    if not np.max(np.abs(np.asarray(tensor))) < VACUOUS:
      raise LawBroken(law, f'{what} was said to be zero, and is not.')


def reject_vacuous(law, what, expected, zero):
  """Raises where a tensor is so small that agreeing on it means nothing."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
    name = path_name(path).removeprefix('gradients/')
    if not jnp.issubdtype(leaf.dtype, jnp.inexact) or not leaf.size:
      continue
    if name not in zero and np.max(np.abs(np.asarray(leaf))) < VACUOUS:
      raise LawBroken(
        law,
        f'{what}: {name} is zero, so that agreeing on it proves nothing; if it '
        f'is zero by construction, pass zero=({name!r},) and say why.',
      )


def path_name(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')
