"""Answers at the largest options that are taken, by Python's integers.

Each solver here is written for the test alone, from the definition, and shares
nothing with the task.
"""

import jax
import numpy as np
import pytest

from seqjax.tasks import TASKS
from seqjax.tasks.task import MOST, MOST_MODULUS

M = MOST_MODULUS - 1


def spell(row, modulus):
  """Writes tokens as Python reads them."""
  names = dict(zip(range(modulus, modulus + 5), '+-*()', strict=True))
  return ' '.join(names.get(token, str(token)) for token in row)


def value(row, modulus):
  return eval(spell(row, modulus)) % modulus


def unknown(row, modulus):
  """Tries out every number for the unknown."""
  left, right = row[:-2], row[-1]
  found = [
    guess
    for guess in range(modulus)
    if value([guess if t == modulus + 5 else t for t in left], modulus) == right
  ]
  assert len(found) == 1
  return found[0]


def walk(row):
  return sum(int(token) - 1 for token in row) % MOST


CASES = {
  'modular_arithmetic': (
    {'modulus': M, 'length': 9, 'min_length': 9},
    lambda row: value(row, M),
  ),
  'bracketed_modular_arithmetic': (
    {'modulus': M, 'length': 13, 'min_length': 13},
    lambda row: value(row, M),
  ),
  'solve_equation': (
    {'modulus': 211, 'length': 11, 'min_length': 11},
    lambda row: unknown(row, 211),
  ),
  'cycle_navigation': (
    {'cycle_length': MOST, 'length': 30, 'min_length': 30},
    walk,
  ),
}


@pytest.mark.parametrize('name', CASES)
def test_the_largest_numbers_do_not_overflow(name):
  """Products of two numbers below the modulus fit 32 bits."""
  options, solve = CASES[name]
  task = TASKS[name](**options)
  batch = jax.jit(task.batch, static_argnums=2)(jax.random.key(0), 0, 32)
  rows, targets = np.asarray(batch.inputs).tolist(), np.asarray(batch.targets)
  assert [solve(row) for row in rows] == targets.tolist()
  assert len(set(targets.tolist())) > 8
