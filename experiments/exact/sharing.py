"""Checks of sharing over time, of reach, and of the carry."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

from experiments.exact.checks import (
  CLOSE,
  CONTEXT,
  FEATURES,
  Mixers,
  check,
  count_parameters,
  furthest,
  jit,
  normal,
)
from seqjax.nn import TCN, Attention

SHIFT, LENGTH = 7, 100
# Positions that one output sees, counted by hand from the options' defaults.
WINDOWS = {
  'tcn': 1 + 2 * (1 + 2 + 4 + 8 + 16),
  'tcn (3 levels)': 1 + 2 * (1 + 2 + 4),
  'attention': CONTEXT,
  'local_attention': 16,
  'gated_conv': 3,
  'window_mlp': 16,
}
READ = (1, 1000, 10**6)  # positions, before a carry is measured
BYTES = 'bytes of the carry after T positions'
CACHE = 'attention (all kept)'


def time_sharing(mixers: Mixers) -> list[dict]:
  """Shifts windowed mixers, and takes the steps of recurrent ones by hand."""
  three = {'tcn (3 levels)': lambda f, c: TCN(f, c, levels=3)}
  rows = []
  for name, make in (mixers | three).items():
    mixer = make(FEATURES, CONTEXT)
    x = normal(2, LENGTH + SHIFT, FEATURES)
    variables = jit(mixer.init)(jax.random.key(0), x)
    if mixer.receptive_field is not None:
      inside = mixer.receptive_field - 1
      apply = jit(mixer.apply)
      y, shifted = apply(variables, x[:, SHIFT:]), apply(variables, x)
      change = furthest(y[:, inside:], shifted[:, SHIFT + inside :])
      label = f'change of outputs by a shift of {SHIFT} positions'
      rows.append(check(label, name, LENGTH, 0, change, CLOSE))
    else:
      rows += _steps('one step at all positions, against the layer', name,
                     mixer, variables, x[:, :LENGTH // 4])  # fmt: skip
    rows += _reach(name, mixer, variables, x)
    counts = [
      count_parameters(make(FEATURES, n), n, FEATURES) for n in (8, 128)
    ]
    rows.append(check('parameters for T = 128', name, 128, *counts))
  return rows


def _reach(name, mixer, variables, x) -> list[dict]:
  """Counts the positions where the derivative of one output is not zero."""
  at = LENGTH // 2 + 20

  @jit
  def derivative(x):
    weights = normal(FEATURES, seed=1)
    return jax.grad(
      lambda x: jnp.sum(mixer.apply(variables, x)[0, at] @ weights)
    )(x)

  seen = np.any(np.asarray(derivative(x))[0] != 0, axis=-1)
  expected = WINDOWS.get(name, at + 1)
  if mixer.receptive_field is not None and name not in WINDOWS:
    return []
  return [
    check('positions with a derivative, up to t', name, LENGTH, expected,
          seen[: at + 1].sum()),
    check('positions with a derivative, after t', name, LENGTH, 0,
          seen[at + 1 :].sum()),
  ]  # fmt: skip


def _steps(label, name, mixer, variables, x) -> list[dict]:
  """Compares a Python loop over `step` with the layer."""
  step = jit(lambda *given: mixer.apply(variables, *given, method='step'))
  carry, outputs = mixer.initialize_carry(len(x)), []
  for t in range(x.shape[1]):
    carry, y_t = step(carry, x[:, t])
    outputs.append(y_t)
  whole = jit(mixer.apply)(variables, x)
  change = furthest(whole, np.stack(outputs, axis=1))
  return [check(label, name, x.shape[1], 0, change, CLOSE)]


def carries(mixers: Mixers) -> list[dict]:
  """Steps, resumes from a carry that was saved, and measures carries."""
  rows, x = [], normal(2, 20, FEATURES)
  for name, make in mixers.items():
    mixer = make(FEATURES, CONTEXT)
    variables = jit(mixer.init)(jax.random.key(0), x)
    unroll = jit(lambda *given, m=mixer: m.apply(*given, method='unroll'))
    rows += _steps('steps against the scan', name, mixer, variables, x)
    initial = mixer.initialize_carry(2)
    _, whole = unroll(variables, initial, x)
    carry, before = unroll(variables, initial, x[:, :10])
    saved = serialization.to_bytes(carry)
    after = [
      unroll(variables, c, x[:, 10:])[1]
      for c in (carry, serialization.from_bytes(carry, saved))
    ]
    label = 'change of outputs by a cut at position 10'
    cut = furthest(whole, jnp.concatenate([before, after[0]], axis=1))
    rows.append(check(label, name, 20, 0, cut, CLOSE))
    label = 'change of outputs by saving the carry and reading it again'
    rows.append(check(label, name, 20, 0, furthest(*after)))
    sizes = [_bytes(mixer, length) for length in READ]
    for length, size in zip(READ, sizes, strict=True):
      rows.append(check(BYTES, name, length, sizes[0], size))
  for length in READ:
    by_hand = length * 2 * FEATURES * 4 + 4  # keys and values, and a count
    size = _bytes(Attention(FEATURES, length), length)
    rows.append(check(BYTES, CACHE, length, by_hand, size))
  return rows


def _bytes(mixer, length: int) -> int:
  """Measures the carry of one row after many positions; none is computed."""
  x = jax.ShapeDtypeStruct((1, length, FEATURES), jnp.float32)
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)
  carry = jax.eval_shape(lambda: mixer.initialize_carry(1))
  carry, _ = jax.eval_shape(
    lambda *given: mixer.apply(*given, method='unroll'), variables, carry, x
  )
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(carry))
