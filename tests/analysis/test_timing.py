"""Mistakes planted in the harness and in contestants are caught."""

import contextlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from seqjax.analysis import timing

# More than any machine reaches: what is tested elsewhere stays out of the way.
NO_PEAK = 1e21
SIZE, CHAIN = 512, 24
FLOPS = 2 * CHAIN * SIZE**3


def long_work(x, w):
  """Takes long enough that a call returns well before it is done."""
  for _ in range(CHAIN):
    x = jnp.tanh(x @ w)
  return x


def doubled(x):
  return 2 * x


@pytest.fixture(scope='module')
def heavy():
  """A contestant compiled once, and its arguments."""
  key_x, key_w = jax.random.split(jax.random.key(0))
  x = jax.random.normal(key_x, (SIZE, SIZE))
  w = jax.random.normal(key_w, (SIZE, SIZE)) / math.sqrt(SIZE)
  compiled = jax.jit(long_work).lower(x, w).compile()
  return timing.Eager(compiled), (x, w)


def light(function=doubled):
  return function, (jnp.arange(1.0, 9.0),)


def compare(contestant, **options):
  """Times one contestant without a peak in the way."""
  return timing.compare(
    {'contestant': contestant}, **{'peak': NO_PEAK, **options}
  )['contestant']


def test_sound_contestants_are_timed_side_by_side(heavy):
  """One time a round for each, with what it computed and took."""
  _, args = heavy
  timings = timing.compare(
    {'long': (long_work, args), 'short': (lambda x, w: x + w, args)},
    peak=NO_PEAK,
  )
  long, short = timings['long'], timings['short']
  assert list(timings) == ['long', 'short']
  assert len(long.seconds) == 11 and min(long.seconds) > 0
  assert long.quartiles[0] <= long.median <= long.quartiles[1]
  assert long.flops == FLOPS and short.flops == 0
  assert long.share_of_peak == FLOPS / long.median / NO_PEAK
  assert math.isnan(short.share_of_peak)
  assert short.peak_bytes == 3 * 4 * SIZE**2
  assert long.peak_bytes == timing.predicted_bytes(long_work, *args)
  assert long.compile_seconds > 0
  assert timing.outcome(timing.ratio(long, short)) == 'slower'


# Mistakes in the loop.


def test_a_loop_that_does_not_wait_is_caught(heavy, monkeypatch):
  """The clock stops at the launch."""
  monkeypatch.setattr(timing, '_wait', lambda outputs: None)
  with pytest.raises(timing.TimingError, match='stopped before'):
    compare(heavy)


def test_a_loop_that_waits_on_an_old_result_is_caught(heavy, monkeypatch):
  """The clock stops when the previous call's outputs are ready."""
  previous = []

  def wait_on_the_last_one(outputs):
    jax.block_until_ready(previous)
    previous[:] = [outputs]

  monkeypatch.setattr(timing, '_wait', wait_on_the_last_one)
  with pytest.raises(timing.TimingError, match='stopped before'):
    compare(heavy)


def test_a_loop_that_gives_every_round_the_same_input_is_caught(monkeypatch):
  """Outputs that do not differ show it."""
  make = timing._inputs_for_round
  monkeypatch.setattr(
    timing, '_inputs_for_round', lambda args, _: make(args, 1)
  )
  with pytest.raises(timing.TimingError, match='rounds 1 and 2'):
    compare(light())


# Mistakes in a contestant.


def stale(call, lag):
  """Returns what was computed `lag` calls ago."""
  results = []

  def late(*args):
    results.append(call(*args))
    return results[max(0, len(results) - 1 - lag)]

  return late


@pytest.mark.parametrize('lag', [1, 2])
def test_a_contestant_that_returns_an_earlier_output_is_caught(lag):
  """With inexact outputs, and with integers."""
  with pytest.raises(
    timing.TimingError, match='rounds|repeated.*earlier calls'
  ):
    compare(light(timing.Eager(stale(jax.jit(doubled), lag))))
  tokens = jnp.arange(12) ** 2
  with pytest.raises(
    timing.TimingError, match='rounds|repeated.*earlier calls'
  ):
    compare((timing.Eager(stale(jax.jit(doubled), lag)), (tokens,)))


def test_a_stale_contestant_is_caught_where_rounds_hardly_differ():
  """Normalised outputs differ by rounding, yet are never another round's."""
  normalise = jax.jit(lambda x: x / jnp.sqrt(jnp.mean(x**2)))
  x = jax.random.normal(jax.random.key(0), (4096,))
  compare((normalise, (x,)))
  with pytest.raises(timing.TimingError, match='repeated.*earlier calls'):
    compare((timing.Eager(stale(normalise, 1)), (x,)))


def test_a_contestant_that_remembers_its_first_output_is_caught():
  """It is the same in every round."""
  kept = []

  def remember(x):
    kept.append(doubled(x))
    return kept[0]

  with pytest.raises(timing.TimingError, match='rounds 1 and 2.*cached'):
    compare(light(timing.Eager(remember)))


def test_a_contestant_that_ignores_its_input_is_caught():
  """The compiler may then do the work before the clock starts."""
  with pytest.raises(timing.TimingError, match='independent of the input'):
    compare(light(lambda x: jnp.arange(3.0)))


def test_an_impure_contestant_is_caught():
  """Another output for the same input."""
  calls = []

  def impure(x):
    calls.append(1)
    return x * len(calls)

  with pytest.raises(timing.TimingError, match='repeated.*not pure'):
    compare(light(timing.Eager(impure)))


class Box:
  """No pytree: jax.block_until_ready passes over what is in it."""

  def __init__(self, array):
    self.array = array


@pytest.mark.parametrize(
  'hide',
  [Box, lambda y: (y, Box(y)), lambda y: None, np.asarray],
  ids=['object', 'beside an array', 'nothing', 'numpy'],
)
def test_an_output_that_cannot_be_waited_for_is_caught(hide):
  """Waiting would pass over it silently."""
  with pytest.raises(timing.TimingError, match='cannot be timed: it returns'):
    compare(light(timing.Eager(lambda x: hide(doubled(x)))))


def test_a_contestant_whose_work_is_not_waited_for_is_caught(heavy):
  """It hands out a quick array; the time implies more than the peak."""
  work, args = heavy
  unseen = []

  def launch(x, w):
    unseen[:] = [work.function(x, w)]
    return x[0] + w[0]

  contestant = timing.Eager(launch), args
  with pytest.raises(timing.TimingError, match='implies.*not waited for'):
    compare(contestant, flops={'contestant': 100 * FLOPS}, peak=1e12)


# The peak.


def test_the_peak_is_measured_again_before_a_time_is_called_impossible(
  heavy, monkeypatch
):
  """Once: the machine may have been busy; then the larger one holds."""
  monkeypatch.setattr(timing, '_PEAKS', {})
  measured = iter([1.0, NO_PEAK, 1.0])
  monkeypatch.setattr(timing, '_measure_peak', lambda dtype: next(measured))
  result = compare(heavy, flops={'contestant': FLOPS}, peak=None)
  assert result.peak == pytest.approx(NO_PEAK)
  monkeypatch.setattr(timing, '_PEAKS', {})
  monkeypatch.setattr(timing, '_measure_peak', lambda dtype: 1.0)
  with pytest.raises(timing.TimingError, match='implies'):
    compare(heavy, flops={'contestant': FLOPS}, peak=None)


def test_a_busy_machine_makes_a_time_suspect_and_ends_nothing(
  heavy, monkeypatch
):
  """Neighbours slowed the peak's measurement, as often as it was taken."""
  taken, slow = [], {}

  def slowed(dtype):
    taken.append(dtype)
    return slow['to'] * real

  monkeypatch.setattr(timing, '_measure_peak', slowed)
  timed = compare(heavy, flops={'contestant': FLOPS}, peak=1e15)
  real = FLOPS / min(timed.seconds)
  for share, suspect in ((0.6, True), (3.0, False)):
    slow['to'] = share
    monkeypatch.setattr(timing, '_PEAKS', {})
    monkeypatch.setattr(timing, '_timed_call', replayed(timed.seconds))
    assert compare(heavy, flops={'contestant': FLOPS}, peak=None).suspect is (
      suspect
    )
    monkeypatch.undo()
    monkeypatch.setattr(timing, '_measure_peak', slowed)
  assert len(taken) == 4 + 1


def replayed(seconds):
  """Times calls as they were timed before, so that no clock decides."""
  left, call = iter([seconds[0], *seconds, *seconds]), timing._timed_call

  def timed_call(*args):
    return next(left), call(*args)[1]

  return timed_call


def test_an_impossible_time_names_the_load():
  """A person can do something about it."""
  with pytest.raises(
    timing.TimingError, match=r'uses the device \(the load is'
  ):
    timing._checked_peak('x', {'float32': 400}, 1.0, 100.0)
  assert timing._checked_peak('x', {'float32': 250}, 1.0, 100.0) == 100.0


def test_the_peak_of_mixed_dtypes_is_between_theirs(monkeypatch):
  """Half the FLOPs at 1 and half at 3 FLOP/s take as long as all at 1.5."""
  peaks = {'float32': 1.0, 'bfloat16': 3.0}
  monkeypatch.setattr(timing, 'matmul_peak', peaks.__getitem__)
  assert timing._blended_peak(dict.fromkeys(peaks, 10)) == pytest.approx(1.5)


def test_the_matmul_peak_is_measured_once(monkeypatch):
  """Later calls remember it."""
  first = timing.matmul_peak()
  monkeypatch.setattr(timing, '_measure_peak', lambda dtype: 0.0)
  assert timing.matmul_peak() == first > 1e8


# Inputs and order.


def test_every_round_has_the_inputs_that_are_promised():
  """Inexact times 1 + r/64, integers rolled, everything else as it was."""
  args = (
    {'x': jnp.ones((2, 3)), 'half': jnp.ones(2, jnp.bfloat16)},
    np.arange(8).reshape(2, 4),
    jnp.asarray([True, False]),
    jnp.asarray(7),
    jax.random.key(3),
    2.5,
  )
  made = timing._inputs_for_round(args, 3)
  np.testing.assert_array_equal(made[0]['x'], 1 + 3 / 64)
  np.testing.assert_array_equal(made[0]['half'], 1 + 3 / 64)
  assert made[0]['half'].dtype == jnp.bfloat16
  np.testing.assert_array_equal(made[1], [[1, 2, 3, 0], [5, 6, 7, 4]])
  np.testing.assert_array_equal(made[2], [True, False])
  assert made[3] == 7 and made[4] == args[4] and made[5] == 2.5
  assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(made[:5]))


def test_every_contestant_takes_every_turn():
  """The order rotates from round to round."""
  orders = [timing._order(['a', 'b', 'c'], number) for number in range(1, 4)]
  assert orders == [['b', 'c', 'a'], ['c', 'a', 'b'], ['a', 'b', 'c']]


def test_rounds_interleave_the_contestants():
  """One turn each before anybody's next, after a warm-up each."""
  calls = []

  def tell(name):
    return timing.Eager(lambda x: calls.append(name) or doubled(x))

  _, args = light()
  timing.compare({name: (tell(name), args) for name in 'ab'})
  assert ''.join(calls[:8]) == 'ab' + 'ba' + 'ab' + 'ba'
  assert len(calls) == 2 * (1 + 11 + 2)


# Ratios.


def of(seconds):
  return timing.Timing(0.0, tuple(seconds), None, None, None)


def test_a_ratio_is_taken_round_by_round():
  """What slows a round slows both: a drift of ten leaves the ratio exact."""
  drift = np.linspace(1.0, 10.0, 11)
  ratio = timing.ratio(of(3 * drift), of(2 * drift))
  np.testing.assert_allclose(ratio, [1.5] * 3)
  assert timing.outcome(ratio) == 'slower'
  assert timing.outcome(timing.ratio(of(drift), of(2 * drift))) == 'faster'


def test_a_ratio_whose_interval_contains_one_is_undecided():
  """Eleven rounds, of which three go the other way."""
  ratio = timing.ratio(of([2.0] * 8 + [0.5] * 3), of([1.0] * 11))
  assert ratio == (2.0, 0.5, 2.0)
  assert timing.outcome(ratio) == 'undecided'


def test_a_ratio_needs_equally_many_rounds():
  """Rounds are compared one by one."""
  with pytest.raises(ValueError, match='11 rounds and 12'):
    timing.ratio(of([1.0] * 11), of([1.0] * 12))


# Compilation.


@pytest.fixture
def warm_cache(tmp_path):
  """A persistent cache that keeps everything, and a list of its events."""
  options = {
    'jax_enable_compilation_cache': True,
    'jax_compilation_cache_dir': str(tmp_path),
    'jax_persistent_cache_min_compile_time_secs': 0,
    'jax_persistent_cache_min_entry_size_bytes': -1,
  }
  before = {name: getattr(jax.config, name) for name in options}
  events = []

  def listen(event, **kwargs):
    events.append(event)

  with contextlib.ExitStack() as stack:
    for name, value in options.items():
      jax.config.update(name, value)
      stack.callback(jax.config.update, name, before[name])
    compilation_cache.reset_cache()
    stack.callback(compilation_cache.reset_cache)
    jax.monitoring.register_event_listener(listen)
    stack.callback(jax.monitoring.unregister_event_listener, listen)
    yield events


def test_compile_time_is_measured_cold_though_the_cache_is_warm(
  warm_cache, monkeypatch
):
  """No hit while it is measured, and hits again afterwards."""
  inputs = (jnp.ones(3),)

  def hits():
    warm_cache.clear()
    timing._compile_cold(doubled, inputs)
    return warm_cache.count('/jax/compilation_cache/cache_hits')

  with monkeypatch.context() as patch:
    patch.setattr(timing, '_without_compilation_cache', contextlib.nullcontext)
    assert [hits(), hits()] == [0, 1]  # without the switch, the cache answers
  assert hits() == 0
  with monkeypatch.context() as patch:
    patch.setattr(timing, '_without_compilation_cache', contextlib.nullcontext)
    assert hits() == 1


def test_predicted_bytes_need_no_memory():
  """Arrays of 32 GiB are only compiled."""
  huge = jax.ShapeDtypeStruct((2**33,), jnp.float32)
  assert timing.predicted_bytes(lambda x, y: x + y, huge, huge) == 3 * 2**35


# Bad input, and where it was measured.


@pytest.mark.parametrize(
  'contestant, options, message',
  [
    (light(), {'rounds': 10}, 'at least 11 rounds.*rounds=10'),
    (light(), {'flops': {'typo': 1}}, r"'typo'.*'contestant'"),
    (light(), {'peak': 0.0}, 'positive'),
    ((doubled, jnp.ones(3)), {}, 'as a tuple'),
    ((doubled, (jnp.zeros(3),)), {}, 'all get the same input'),
    ((doubled, (jnp.arange(10),)), {}, 'last axis of 11 or more'),
    ((doubled, (jnp.ones(12, jnp.int32),)), {}, 'all get the same input'),
    ((doubled, (2.0,)), {}, 'all get the same input'),
  ],
)
def test_what_cannot_be_timed_is_an_error(contestant, options, message):
  """Before anything is compiled."""
  with pytest.raises(ValueError, match=message):
    compare(contestant, **options)


def test_nobody_to_time_is_an_error():
  """An empty comparison has no answer."""
  with pytest.raises(ValueError, match='empty'):
    timing.compare({})
