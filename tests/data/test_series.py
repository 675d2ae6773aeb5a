"""Series of numbers: windows and standard units."""

import numpy as np
import pytest

from seqjax.data.series import standardise, windows


def test_a_thousand_steps_in_windows_of_four():
  """(996, 4) and (996,), as a plain loop over the series makes them."""
  series = np.random.default_rng(0).normal(size=1000)
  inputs, targets = windows(series, 4)
  assert inputs.shape == (996, 4) and targets.shape == (996,)
  np.testing.assert_array_equal(inputs, [series[i : i + 4] for i in range(996)])
  np.testing.assert_array_equal(targets, [series[i + 4] for i in range(996)])
  inputs, targets = windows(series.reshape(500, 2), 3)
  assert inputs.shape == (497, 3, 2) and targets.shape == (497, 2)
  np.testing.assert_array_equal(inputs[5, 1], series[12:14])


@pytest.mark.parametrize('tau', [0, -1, 5, 6])
def test_a_window_needs_a_value_after_it(tau):
  """tau from 1 to one less than there are values."""
  with pytest.raises(ValueError, match=f'windows of 1 to 4.*tau={tau}'):
    windows(np.arange(5.0), tau)


@pytest.mark.parametrize('read', [
  standardise, lambda series: windows(series, 3)
])  # fmt: skip
def test_a_value_that_is_not_finite_is_refused_with_its_position(read):
  """Series have one component or several."""
  series = np.arange(20.0)
  series[7] = np.nan
  with pytest.raises(ValueError, match='finite numbers, but value 7 is nan'):
    read(series)
  series = np.arange(20.0).reshape(10, 2)
  series[4, 1] = np.inf
  with pytest.raises(ValueError, match='value 4, component 1 is inf'):
    read(series)


def test_what_is_standard_is_said_by_the_training_part_alone():
  """Mean 0 and variance 1 there, whatever follows."""
  series = np.random.default_rng(0).normal(3, 2, size=(1000, 2))
  series[800:] += 100
  recording = standardise(series)
  train = recording.parts['train']
  assert [len(part) for part in recording.parts.values()] == [800, 100, 100]
  np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-6)
  np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-6)
  assert recording.parts['validation'].mean() > 40
  whole = np.concatenate(list(recording.parts.values()))
  np.testing.assert_allclose(
    whole * recording.deviation + recording.mean, series, rtol=1e-5, atol=1e-5
  )


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('scale', [1e-30, 1e20, 1e37])
def test_large_and_small_units_are_standardised(scale, dtype):
  """The spread is computed in double precision: no zeros."""
  unit = np.random.default_rng(0).normal(size=1000)
  part = standardise((unit * scale).astype(dtype)).parts['train']
  np.testing.assert_allclose(part, standardise(unit).parts['train'], atol=1e-4)


def test_a_spread_that_is_not_finite_is_refused():
  """Beyond double precision."""
  unit = np.random.default_rng(0).normal(size=1000)
  with pytest.raises(ValueError, match='its training part.*other units'):
    standardise(unit * 1e300)
