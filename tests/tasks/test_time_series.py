"""Series: windows, what is known of them exactly, and chaos."""

import jax
import numpy as np
import pytest

from seqjax import testing
from seqjax.tasks.chaotic_series import (
  Lorenz,
  MackeyGlass,
  lyapunov_exponent,
  simulate,
)
from seqjax.tasks.forecasting import Rollout, TauWindow
from seqjax.tasks.gaussian_series import Autoregressive, Sine
from seqjax.tasks.time_series import CSVSeries

KEY = jax.random.key(0)


def test_the_autocovariance_of_first_order_is_a_geometric_series():
  """r(l) = a^l noise^2 / (1 - a^2); and of second order, Yule and Walker's."""
  series = Autoregressive((0.9,), noise=0.5)
  expected = 0.9 ** np.arange(6) * 0.25 / (1 - 0.81)
  np.testing.assert_allclose(series.autocovariance(6), expected, rtol=1e-12)
  series = Autoregressive((1.6, -0.8), noise=0.5)
  r = series.autocovariance(9)
  np.testing.assert_allclose(r[2:], 1.6 * r[1:-1] - 0.8 * r[:-2], rtol=1e-9)
  np.testing.assert_allclose(r[0], 1.6 * r[1] - 0.8 * r[2] + 0.25, rtol=1e-9)


def test_the_floor_of_an_autoregressive_series():
  """noise^2 from p values on; sum of squared impulse responses further out."""
  series = Autoregressive((1.6, -0.8), noise=0.5)
  for seen in (2, 3, 20):
    assert series.floor(seen) == pytest.approx(0.25, rel=1e-9)
  assert series.floor(1) > 0.3
  impulse = [1.0, 1.6]
  while len(impulse) < 8:
    impulse.append(1.6 * impulse[-1] - 0.8 * impulse[-2])
  for ahead in range(1, 9):
    expected = 0.25 * np.sum(np.square(impulse[:ahead]))
    assert series.floor(5, ahead) == pytest.approx(expected, rel=1e-9)
  assert series.floor(5, 400) == pytest.approx(series.chance, rel=1e-6)


def test_the_floor_of_a_noisy_sine_is_that_of_linear_regression():
  """noise^2 (1 + f^T (F^T F + noise^2)^-1 f) with features f = (cos, sin)."""
  series = Sine(period=7.0, noise=0.4)
  angle = 2 * np.pi / 7 * np.arange(30)
  features = np.stack([np.cos(angle), np.sin(angle)], axis=1)
  for seen, ahead in [(1, 1), (3, 1), (12, 1), (12, 9)]:
    past, asked = features[:seen], features[seen - 1 + ahead]
    precision = past.T @ past + 0.16 * np.eye(2)
    expected = 0.16 * (1 + asked @ np.linalg.solve(precision, asked))
    assert series.floor(seen, ahead) == pytest.approx(expected, rel=1e-9)
  assert series.floor(400) == pytest.approx(0.16, rel=0.02)


def test_draws_have_the_covariance_that_is_stated():
  """And an autoregressive one is driven by independent noise."""
  for series in (Sine(period=5.0, length=9), Autoregressive(length=9)):
    values = np.asarray(series.stretches(KEY, 0, 20000, 'train', 10))
    covariance = values.T @ values / len(values)
    lags = np.abs(np.subtract.outer(np.arange(10), np.arange(10)))
    stated = series.autocovariance(10)[lags]
    assert np.max(np.abs(covariance - stated)) < 0.05 * stated[0, 0]
  noise = values[:, 2:] - 1.6 * values[:, 1:-1] + 0.8 * values[:, :-2]
  assert noise.std() == pytest.approx(0.5, rel=0.01)
  assert abs(np.corrcoef(noise[:, 3], noise[:, 4])[0, 1]) < 0.03


@pytest.mark.parametrize(
  'coefficients, message',
  [
    ((1.1,), 'modulus 1.1'),
    ((0.5, 0.5), 'modulus 1'),
    ((2.0, -1.0), 'modulus'),
  ],
)
def test_a_series_that_is_not_stationary_is_refused(coefficients, message):
  """By the largest eigenvalue of its companion matrix."""
  with pytest.raises(ValueError, match=message):
    Autoregressive(coefficients)


@pytest.mark.parametrize('make, message', [
  (lambda: Sine(noise=0.0), 'Sine needs a noise above 0, but noise=0.0'),
  (lambda: Sine(period=1.0), 'period of at least 2.0, but period=1.0'),
  (lambda: Autoregressive(length=0), 'length of at least 1, but length=0'),
  (lambda: MackeyGlass(length=17), 'length of at least 18, but length=17'),
  (lambda: Lorenz(num_samples=0), 'num_samples of at least 1'),
  (lambda: TauWindow(tau=0), 'tau of at least 1, but tau=0'),
  (lambda: Rollout(steps=0), 'steps of at least 1, but steps=0'),
])  # fmt: skip
def test_bad_options_are_refused_at_construction(make, message):
  """One sentence with the expected and the given value."""
  with pytest.raises(ValueError, match=message):
    make()


def test_lorenz_agrees_with_much_shorter_steps():
  """Of Euler's method, for half a unit of time."""
  lorenz = Lorenz()
  state = x, y, z = 1.0, 2.0, 20.0
  for _ in range(10):
    state = lorenz.flow(state)
  dt = 1e-5
  for _ in range(50000):
    x, y, z = (
      x + dt * 10 * (y - x),
      y + dt * (x * (28 - z) - y),
      z + dt * (x * y - 8 / 3 * z),
    )
  np.testing.assert_allclose(state, (x, y, z), rtol=0, atol=0.02)


def test_mackey_glass_agrees_with_much_shorter_steps():
  """Of Euler's method, for 40 units of time from a constant past."""
  series, per_unit = MackeyGlass(), 1000
  coarse = series.observe(simulate(series.flow, series.beginning, 40))
  fine = [1.2] * (17 * per_unit + 1)
  for _ in range(40 * per_unit):
    late, now = fine[-17 * per_unit - 1], fine[-1]
    fine.append(now + (0.2 * late / (1 + late**10) - 0.1 * now) / per_unit)
  fine = np.array(fine[17 * per_unit :])[per_unit::per_unit]
  np.testing.assert_allclose(coarse, fine, atol=2e-3)


def test_the_lyapunov_exponent_of_maps_that_have_a_known_one():
  """log 2 of the doubling map; the larger rate of a linear map."""
  states = np.random.default_rng(0).uniform(size=(1, 16))
  doubling = lyapunov_exponent(lambda state: (2 * state[0],), states, 10)
  assert doubling == pytest.approx(np.log(2), rel=1e-6)
  states = np.random.default_rng(0).normal(size=(2, 16)) * 1e-3
  linear = lyapunov_exponent(
    lambda state: (0.5 * state[0] + state[1], 1.1 * state[1]), states, 60
  )
  assert linear == pytest.approx(np.log(1.1), abs=1e-4)


def test_the_lyapunov_exponents_of_the_chaotic_series():
  """Near those of the literature, 0.906 of Lorenz's; both are positive."""
  assert Lorenz().lyapunov_exponent == pytest.approx(0.906, abs=0.03)
  assert 0.004 < MackeyGlass().lyapunov_exponent < 0.008


def test_one_value_from_those_just_before_it():
  """A window is what the aligned task shows, and its last target."""
  task = TauWindow(Lorenz(num_samples=500), tau=4)
  batch = task.batch(KEY, 3, 8)
  part = task.series.recording.parts['train']
  for seen, asked in zip(batch.inputs, batch.targets, strict=True):
    at = int(np.argmin(np.abs(part - seen[0]).sum(axis=1)))
    np.testing.assert_array_equal(part[at : at + 5], [*seen, asked])


def test_a_rollout_shows_the_context_alone():
  """Zeros after it; the target `group` steps ahead is the series' own."""
  task = Rollout(MackeyGlass(num_samples=500), context=5, steps=3)
  batch = task.batch(KEY, 0, 4)
  part = task.series.recording.parts['train']
  np.testing.assert_array_equal(batch.group, [[0, 0, 0, 0, 1, 2, 3]] * 4)
  np.testing.assert_array_equal(batch.weights, batch.group > 0)
  assert not batch.inputs[:, 5:].any()
  for seen, asked in zip(batch.inputs, batch.targets, strict=True):
    (at,) = np.flatnonzero(part == seen[0])
    np.testing.assert_array_equal(part[at : at + 5], seen[:5])
    np.testing.assert_array_equal(part[at + 5 : at + 8], asked[4:])


def test_ceilings_of_windows_and_rollouts():
  """Means of the series' own floors; unknown where the past is too short."""
  series = Autoregressive()
  assert TauWindow(series, 4).ceiling == series.floor(4)
  expected = np.mean([series.floor(6, ahead) for ahead in (1, 2, 3)])
  assert Rollout(series, 6, 3).ceiling == pytest.approx(expected)
  assert Rollout(Lorenz(), 1, 3).ceiling == 0
  assert MackeyGlass().ceiling == Rollout(MackeyGlass()).ceiling == 0
  short = TauWindow(MackeyGlass(), tau=16)  # less than the delay
  assert short.ceiling is None and not hasattr(short, 'solve')


@pytest.mark.parametrize('task', [
  TauWindow(Sine(), tau=4),
  TauWindow(Lorenz(num_samples=3000), tau=4),
  Rollout(Autoregressive(), context=8, steps=4),
  TauWindow(MackeyGlass(num_samples=3000), tau=18),
  Rollout(Lorenz(num_samples=3000), context=8, steps=4),
])  # fmt: skip
def test_windows_and_rollouts_keep_the_contract(task):
  """On the device or off, of one component or three."""
  testing.assert_task_contract(task, batches=8)


def test_a_file_as_a_spreadsheet_writes_it(tmp_path, monkeypatch):
  """With a mark before the first name; in the home folder."""
  path = tmp_path / 'log.csv'
  path.write_text('x\n' + '\n'.join(map(str, range(30))), 'utf-8-sig')
  monkeypatch.setenv('HOME', str(tmp_path))
  assert CSVSeries('~/log.csv', 'x').recording.mean == np.mean(range(24))


def test_a_column_of_a_file(tmp_path):
  """Read by its name, standardised, and held to the contract."""
  path = tmp_path / 'log.csv'
  values = np.sin(np.arange(3000) ** 1.5 / 50)
  rows = [f'{i},"{value!r}",x' for i, value in enumerate(values.tolist())]
  path.write_text('time,height,"a, b"\n' + '\n'.join(rows), encoding='utf-8')
  task = CSVSeries(str(path), 'height', length=8)
  recording = task.recording
  np.testing.assert_allclose(
    recording.parts['train'] * recording.deviation + recording.mean,
    values[:2400],
    atol=1e-6,
  )
  testing.assert_task_contract(task, batches=4)


def test_another_column_has_another_fingerprint(tmp_path):
  """Also of a forecast of it; what is computed has none."""
  found = []
  for name, last in {'a': 7, 'b': 7, 'c': 8}.items():
    path = tmp_path / f'{name}.csv'
    path.write_text('x\n' + '\n'.join(map(str, [*range(24), last])))
    task = CSVSeries(str(path), 'x')
    assert Rollout(task).fingerprint == task.fingerprint
    found.append(task.fingerprint)
  assert found[0] == found[1] != found[2]
  assert not hasattr(Rollout(), 'fingerprint')


@pytest.mark.parametrize('content, message', [
  ('x\n1\ninf\n3\n', r"s.csv, line 3: column 'x' holds 'inf'"),
  ('x\n1\n\n2\noops\n', r"s.csv, line 5: column 'x' holds 'oops'"),
  ('y,x\n1,2\n3\n', r'needs two values.*but 1 of its 2 values'),
  ('a,b\n1,2\n', r"s.csv has no column 'x'; its first row names: a, b"),
  ('x\n', r"s.csv, column 'x': .*needs two values.*but 0 of its 0 values"),
  ('x\n1\n2\n', r'needs two values.*but 1 of its 2 values'),
  (f'x\n1\n{"2" * 131073}\n', r's.csv, line 3: field larger than.*131072'),
  ('x\n' + '1\n' * 50, r"s.csv, column 'x': .*first 40 of its 50.*all equal"),
  ('x\n1\n2\n3\n4\n5\n', r's.csv.*ends at value 4, too early for 9 values'),
  ('', r's.csv is empty'),
])  # fmt: skip
def test_a_bad_file_is_one_sentence_with_its_name(tmp_path, content, message):
  """And the line."""
  path = tmp_path / 's.csv'
  path.write_text(content, encoding='utf-8')
  with pytest.raises(ValueError, match=message):
    CSVSeries(str(path), 'x', length=8).batch(KEY, 0, 2)


def test_a_file_that_is_not_there_or_not_named(tmp_path):
  """One sentence each."""
  with pytest.raises(FileNotFoundError, match='There is no file .*none.csv'):
    CSVSeries(str(tmp_path / 'none.csv'), 'x').batch(KEY, 0, 2)
  with pytest.raises(ValueError, match="path='' and column=''"):
    CSVSeries().batch(KEY, 0, 2)


WAVE = np.sin(np.arange(200) / 7) * 3 + 1


@pytest.mark.parametrize(
  'header, row, column',
  [
    ('time,height', '{i},{x!r}', 'height'),
    ('time;height', '{i};{x!r}', 'height'),
    ('time;height', '{i};{comma}', 'height'),
    ('time\theight', '{i}\t{x!r}', 'height'),
    ('time|height', '{i}|{x!r}', 'height'),
    ('  time   height', '{i}  {x!r}', 'height'),
    (',0,1', '{i},{x!r},{i}', '0'),
    ('0,1', '{i},{x!r}', '1'),
    (None, '{x!r},{i}', '0'),
    ('"a, b",c', '{x!r},{i}', '"a, b"'),
    ('"a, b",c', '{x!r},{i}', 'a, b'),
  ],
)
def test_a_file_of_any_separator_and_header(tmp_path, header, row, column):
  """As spreadsheets, pandas and instruments write them."""
  path = tmp_path / 'log.csv'
  rows = [
    row.format(i=i, x=x, comma=repr(x).replace('.', ','))
    for i, x in enumerate(WAVE.tolist())
  ]
  path.write_text('\n'.join(([] if header is None else [header]) + rows))
  recording = CSVSeries(str(path), column).recording
  series = np.concatenate([*recording.parts.values()])
  series = series * recording.deviation + recording.mean
  np.testing.assert_allclose(series, WAVE, atol=1e-5)


def test_several_columns_are_predicted_together(tmp_path):
  """A vector at each position, each component in its own units."""
  path = tmp_path / 'log.csv'
  rows = [f'{i},{x!r},{x * x!r}' for i, x in enumerate(WAVE.tolist())]
  path.write_text('time,x,y\n' + '\n'.join(rows))
  task = CSVSeries(str(path), 'x,y', length=9)
  assert task.input == task.output == ((2,), None)
  testing.assert_task_contract(task, batches=4)
  np.save(tmp_path / 'log.npy', np.stack([WAVE, WAVE**2], axis=1))
  same = CSVSeries(str(tmp_path / 'log.npy'), length=9)
  assert same.fingerprint == task.fingerprint
  one = CSVSeries(str(tmp_path / 'log.npy'), '1', length=9)
  np.testing.assert_array_equal(
    one.recording.parts['test'], task.recording.parts['test'][:, 1]
  )
  with pytest.raises(ValueError, match="no column '2'.*names: 0, 1"):
    _ = CSVSeries(str(tmp_path / 'log.npy'), '2').recording


@pytest.mark.parametrize('missing', ['', 'nan', 'NaN', 'NA', 'null', '-'])
def test_a_missing_value_has_weight_zero(tmp_path, missing):
  """As a target; among the inputs it is 0, the mean of what is known."""
  path = tmp_path / 'log.csv'
  values = [repr(x) if i % 10 else missing for i, x in enumerate(WAVE.tolist())]
  path.write_text('t,x\n' + '\n'.join(f'{i},{v}' for i, v in enumerate(values)))
  task = CSVSeries(str(path), 'x', length=12)
  known = np.arange(200) % 10 > 0
  recording = task.recording
  expected = np.mean(WAVE[:160][known[:160]])
  np.testing.assert_allclose(recording.mean, expected, rtol=1e-12)
  batch = task.batch(KEY, 0, 16)
  np.testing.assert_array_equal(batch.weights == 0, batch.targets == 0)
  assert 0 < (batch.weights == 0).sum(axis=1).min() <= 2
  assert np.isfinite(batch.inputs).all() and np.isfinite(batch.targets).all()
  for forecast in (TauWindow(task, tau=4), Rollout(task, context=4, steps=8)):
    batch = forecast.batch(KEY, 0, 64)
    assert np.isfinite(batch.inputs).all() and np.isfinite(batch.targets).all()
    assert not batch.weights[batch.targets == 0].any()
