"""The choice of a learning rate by validation."""

import math

import numpy as np
import pytest

from seqjax.analysis import selection
from seqjax.analysis.selection import best_learning_rate


def test_the_learning_rate_is_the_one_with_the_best_mean():
  """Not with the best seed; of equals the smaller; no infinity, no NaN."""
  scores = {1e-1: [1.0, 0.0], 3e-2: [0.5, 0.75], 1e-2: [0.75, 0.5]}
  scores |= {3e-3: [9.0, np.nan], 1e-3: [np.inf, np.inf], 1e-4: [0.25, 0.5]}
  assert best_learning_rate(scores) == 1e-2
  assert best_learning_rate(scores, higher_is_better=False) == 1e-4
  assert best_learning_rate({1e-2: [0.5, 0.5], 1e-3: [0.9]}) == 1e-2
  with pytest.raises(ValueError, match='all finite, but none is'):
    best_learning_rate({1e-3: [np.nan], 1e-2: []})


def test_ties_are_broken_by_the_validation_loss():
  """The smaller rate won before, and with it what was said beyond training."""
  scores = {1e-3: [1.0, 1.0], 3e-3: [1.0, 1.0], 1e-2: [0.9, 1.0]}
  losses = {1e-3: [0.2, 0.2], 3e-3: [0.1, 0.1], 1e-2: [0.0, 0.0]}
  choice = selection.choose_learning_rate(scores, losses=losses)
  assert choice == (3e-3, (1e-3,), False)
  losses[3e-3] = [0.1, math.nan]
  assert selection.best_learning_rate(scores, losses=losses) == 1e-3
  assert selection.best_learning_rate(scores) == 1e-3


def test_a_rate_at_an_edge_of_its_grid_is_told_and_the_grid_extended():
  """Unless one further in is as good; a single rate has no edge."""
  scores = {1e-3: [0.5], 3e-3: [0.6], 1e-2: [0.7]}
  choice = selection.choose_learning_rate(scores)
  assert choice.at_edge
  assert selection.next_learning_rate([*scores], choice) == pytest.approx(
    1e-2 / 3e-3 * 1e-2, rel=1e-4
  )
  falling = selection.choose_learning_rate({**scores, 1e-3: [0.9]})
  assert falling.at_edge
  assert selection.next_learning_rate([*scores], falling) == pytest.approx(
    1e-3 / 3, rel=1e-4
  )
  tied = selection.choose_learning_rate({**scores, 3e-3: [0.7]})
  assert not tied.at_edge
  assert selection.next_learning_rate([*scores], tied) is None
  assert not selection.choose_learning_rate({1e-3: [0.5]}).at_edge


def test_a_grid_is_extended_to_ten_times_its_ends_and_no_further():
  """Takes the ends of the first grid, however far it has come."""
  grid, edge = [1e-3, 3e-3, 1e-2], selection.Choice(0.1, (), True)
  rates = [*grid, 3e-2, 0.1]
  assert selection.next_learning_rate(rates, edge, grid) is None
  assert selection.next_learning_rate(rates, edge) is not None
  low = selection.Choice(1e-4, (), True)
  assert selection.next_learning_rate([1e-4, 3e-4, *grid], low, grid) is None
