"""Reliable run times: of the whole call, not only of its launch.

JAX returns before the work is done, so a loop can time launches, wait on an old
result, or time one input again and again while something remembers the answer.
`compare` is built so that such mistakes, its own or a contestant's, raise
TimingError: every round has its own input, the clock stops when that call's
outputs are there, outputs must differ from round to round and come out again
when asked for in another order, and no time may imply more arithmetic than the
machine has been seen to do.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from seqjax.analysis import flops as flops_lib
from seqjax.analysis.memory import peak_memory, unwaitable
from seqjax.analysis.statistics import Interval, median_interval
from seqjax.ops.algorithms import by_platform
from seqjax.typing import Array

__all__ = [
  'Eager',
  'Timing',
  'TimingError',
  'compare',
  'compile_seconds',
  'matmul_peak',
  'outcome',
  'peak_memory',
  'predicted_bytes',
  'ratio',
]

MIN_ROUNDS = 11
_SAMPLE = 4096  # numbers kept of every output
_PEAK_MARGIN = 1.1  # beyond it a time is suspect
_IMPOSSIBLE = 3.0  # times the peak: no noise of a busy machine explains that
_PEAK_REPEATS = 3
_PEAKS = {}


class TimingError(RuntimeError):
  """The times are not those of the work they are said to be."""


class Eager(NamedTuple):
  """A contestant that is not jitted: compiled already, or no JAX function."""

  function: Callable


class Timing(NamedTuple):
  """The measured cost of one contestant.

  `seconds` has one entry per round, in order.
  `compile_seconds` is tracing, lowering and compiling with nothing remembered,
  or an Eager contestant's first call. `flops` are those of the matmuls, `peak`
  the FLOP/s that the machine reaches on matmuls of their dtypes, `peak_bytes`
  those of arguments, outputs and temporaries together; None where not known (an
  Eager contestant, no matmuls). `suspect` tells if the fastest round implies
  more than the peak, as it may where another process slowed the peak's
  measurement.
  """

  compile_seconds: float
  seconds: tuple[float, ...]
  flops: int | None
  peak_bytes: int | None
  peak: float | None
  suspect: bool = False

  @property
  def median(self) -> float:
    return float(np.median(self.seconds))

  @property
  def quartiles(self) -> tuple[float, float]:
    low, high = np.quantile(self.seconds, [0.25, 0.75])
    return float(low), float(high)

  @property
  def share_of_peak(self) -> float:
    """The part of the machine's matmul peak in use; nan where unknown."""
    if self.peak is None:
      return math.nan
    return self.flops / self.median / self.peak


class _Contestant(NamedTuple):
  """A compiled function with its arguments, ready for the rounds."""

  name: str
  call: Callable
  args: tuple
  compile_seconds: float
  flops: Mapping[str, int] | None  # by dtype
  peak_bytes: int | None


class _Round(NamedTuple):
  seconds: float
  sample: list[np.ndarray]


def compare(
  contestants: Mapping[str, tuple[Callable | Eager, Any]],
  *,
  rounds: int = MIN_ROUNDS,
  flops: Mapping[str, int] | None = None,
  peak: float | None = None,
) -> dict[str, Timing]:
  """Times functions side by side on inputs that differ from round to round.

  Args:
    contestants: name -> (function, args). A function is jitted here; `Eager`
      is called as it is. args are pytrees; in round r (1, 2, ...) their inexact
      arrays are multiplied by 1 + r/64, their integer arrays rolled by r along
      the last axis; anything else stays.
    rounds: at least 11. In each, every contestant has one turn; the order
      rotates.
    flops: {name: matmul FLOPs of a call}, for contestants whose FLOPs
      `flops.count` cannot find, as of Eager ones. They are taken to be of the
      widest inexact dtype of the arguments.
    peak: FLOP/s that no contestant can exceed. None: `matmul_peak` of the
      dtypes of its matmuls.

  Raises:
    ValueError: there is nothing to vary from round to round, too few rounds, an
      unknown name.
    TimingError: outputs could not be waited for, or were not; they are equal in
      two rounds, or not reproduced; or a time implies more than the peak.

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from seqjax.analysis import timing
    >>> x = jnp.ones((256, 256))
    >>> found = timing.compare(
    ...   {'product': (jnp.matmul, (x, x)), 'sum': (jnp.add, (x, x))}
    ... )
    >>> timing.ratio(found['product'], found['sum']).value > 0
    True
  """
  _check_contest(contestants, rounds, flops or {}, peak)
  entries = {
    name: _prepare(name, function, args, (flops or {}).get(name))
    for name, (function, args) in contestants.items()
  }
  played = {name: [] for name in entries}
  for number in range(1, rounds + 1):
    for name in _order(list(entries), number):
      played[name].append(_play(entries[name], number))
  for name, contestant in entries.items():
    _check_differ(name, played[name])
    _check_repeat(contestant, played[name])
  return {
    name: _timing(contestant, played[name], peak)
    for name, contestant in entries.items()
  }


def ratio(a: Timing, b: Timing) -> Interval:
  """The median of a's seconds over b's, round by round, with its interval.

  Both come from one call of `compare`: what slowed a round slowed both.
  """
  if len(a.seconds) != len(b.seconds):
    raise ValueError(
      'A ratio is taken round by round, but there are '
      f'{len(a.seconds)} rounds and {len(b.seconds)}.'
    )
  return median_interval(np.divide(a.seconds, b.seconds))


def outcome(seconds_ratio: Interval) -> str:
  """Says 'faster', 'slower', or 'undecided' where the interval contains 1."""
  if seconds_ratio.contains(1.0):
    return 'undecided'
  return 'faster' if seconds_ratio.value < 1 else 'slower'


def predicted_bytes(function: Callable, *args) -> int:
  """Compiles, and gives the bytes of arguments, outputs and temporaries.

  Nothing runs, so `args` may be `jax.ShapeDtypeStruct`s that would not fit.
  """
  return _footprint(jax.jit(function).lower(*args).compile())


def matmul_peak(dtype=jnp.float32) -> float:
  """Measures, once a process, the FLOP/s of large square matmuls: the best.

  Under the matmul precision that holds now: on a GPU the default one may round
  float32 operands first, and is faster.
  """
  key = _peak_key(dtype)
  if key not in _PEAKS:
    _PEAKS[key] = _measure_peak(dtype)
  return _PEAKS[key]


# Before the rounds.


def _check_contest(contestants, rounds, flops, peak) -> None:
  if rounds < MIN_ROUNDS:
    raise ValueError(
      f'A median needs at least {MIN_ROUNDS} rounds, but rounds={rounds}.'
    )
  if not contestants:
    raise ValueError('There is nothing to time: contestants is empty.')
  unknown = sorted(set(flops) - set(contestants))
  if unknown:
    raise ValueError(
      f'flops names {unknown}, but the contestants are {sorted(contestants)}.'
    )
  if peak is not None and not peak > 0:
    raise ValueError(f'A peak is a positive number of FLOP/s, not {peak}.')
  for name, (_, args) in contestants.items():
    _check_args(name, args, rounds)


def _check_args(name: str, args, rounds: int) -> None:
  if not isinstance(args, tuple):
    raise ValueError(
      f'The arguments of {name} are given as a tuple, '
      f'but they are a {type(args).__name__}.'
    )
  if not any(_varies(leaf, rounds) for leaf in jax.tree.leaves(args)):
    raise ValueError(
      f'The rounds of {name} would all get the same input: give it an inexact '
      'array that is not zero, or integers that differ along a last axis of '
      f'{rounds} or more.'
    )


def _is_array(leaf, kind) -> bool:
  return isinstance(leaf, Array) and jnp.issubdtype(leaf.dtype, kind)


def _varies(leaf, rounds: int) -> bool:
  if _is_array(leaf, jnp.inexact):
    return bool(np.any(np.asarray(leaf) != 0))
  if _is_array(leaf, jnp.integer) and leaf.ndim and leaf.shape[-1] >= rounds:
    numbers = np.asarray(leaf)
    return bool(np.any(numbers != numbers[..., :1]))
  return False


def _prepare(name, function, args, flops: int | None) -> _Contestant:
  """Compiles and warms up, apart from everything that is timed."""
  inputs = _inputs_for_round(args, 0)
  if flops is not None:
    flops = {_widest_dtype(args): flops}
  if isinstance(function, Eager):
    call, peak_bytes = function.function, None
    compile_seconds, _ = _timed_call(name, call, inputs)
  else:
    call, compile_seconds = _compile_cold(function, inputs)
    flops = flops or flops_lib.count_by_dtype(function, *inputs)
    peak_bytes = _footprint(call)
    _timed_call(name, call, inputs)
  return _Contestant(name, call, args, compile_seconds, flops, peak_bytes)


def _widest_dtype(args) -> str:
  dtypes = [
    leaf.dtype for leaf in jax.tree.leaves(args) if _is_array(leaf, jnp.inexact)
  ]
  return jnp.result_type(*dtypes).name if dtypes else 'float32'


def compile_seconds(function: Callable, *inputs: Any) -> float:
  """Returns the seconds of tracing, lowering and compiling a function.

  Nothing is remembered from before, and nothing runs: inputs may be shapes.

  Example:
    >>> import jax
    >>> from seqjax.analysis import timing
    >>> shape = jax.ShapeDtypeStruct((2, 3), jax.numpy.float32)
    >>> timing.compile_seconds(jax.numpy.sin, shape) > 0
    True
  """
  return _compile_cold(function, inputs)[1]


def _compile_cold(function: Callable, inputs) -> tuple[Callable, float]:
  def afresh(*args):  # jit remembers by function: this one is new
    return function(*args)

  with _without_compilation_cache():
    start = time.perf_counter()
    compiled = jax.jit(afresh).lower(*inputs).compile()
    return compiled, time.perf_counter() - start


@contextlib.contextmanager
def _without_compilation_cache() -> Iterator[None]:
  """Switches the persistent cache off; what is on disk stays there."""
  enabled = jax.config.jax_enable_compilation_cache
  jax.config.update('jax_enable_compilation_cache', False)
  compilation_cache.reset_cache()  # whether it is used is asked once only
  try:
    yield
  finally:
    jax.config.update('jax_enable_compilation_cache', enabled)
    compilation_cache.reset_cache()


def _footprint(compiled) -> int:
  stats = compiled.memory_analysis()
  return (
    stats.argument_size_in_bytes
    + stats.output_size_in_bytes
    + stats.temp_size_in_bytes
    - stats.alias_size_in_bytes
  )


# A round.


def _order(names: list[str], number: int) -> list[str]:
  """Rotates, so that nobody always follows the same contestant."""
  first = number % len(names)
  return names[first:] + names[:first]


def _play(contestant: _Contestant, number: int) -> _Round:
  inputs = _inputs_for_round(contestant.args, number)
  seconds, outputs = _timed_call(contestant.name, contestant.call, inputs)
  return _Round(seconds, _sample(outputs))


def _inputs_for_round(args, number: int):
  """Makes a round's inputs, and waits until they are there."""
  leaves, structure = jax.tree.flatten(args)
  arrays = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Array)]
  varied = _vary([leaves[i] for i in arrays], number)
  for i, leaf in zip(arrays, varied, strict=True):
    leaves[i] = leaf
  return jax.block_until_ready(structure.unflatten(leaves))


@jax.jit
def _vary(leaves: list, number) -> list:
  def vary(leaf):
    if jnp.issubdtype(leaf.dtype, jnp.inexact):
      return leaf * (1 + number / 64).astype(leaf.dtype)
    if jnp.issubdtype(leaf.dtype, jnp.integer) and leaf.ndim:
      return jnp.roll(leaf, number, axis=-1)
    return leaf

  return [vary(leaf) for leaf in leaves]


def _timed_call(name: str, call: Callable, inputs) -> tuple[float, Any]:
  start = time.perf_counter()
  outputs = call(*inputs)
  _wait(outputs)
  seconds = time.perf_counter() - start
  complaint = unwaitable(outputs)
  if complaint:
    raise TimingError(f'{name} cannot be timed: {complaint}.')
  if not all(leaf.is_ready() for leaf in jax.tree.leaves(outputs)):
    raise TimingError(
      f'The clock of {name} stopped before its outputs were ready: '
      'the wait was not for the outputs of this call.'
    )
  return seconds, outputs


def _wait(outputs) -> None:
  jax.block_until_ready(outputs)


def _sample(outputs) -> list[np.ndarray]:
  """Keeps up to 4096 numbers of every output, evenly spread."""
  return [_sample_leaf(leaf) for leaf in jax.tree.leaves(outputs)]


def _sample_leaf(leaf: jax.Array) -> np.ndarray:
  if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    leaf = jax.random.key_data(leaf)
  numbers = np.asarray(leaf).reshape(-1)
  stride = -(-numbers.size // _SAMPLE) | 1  # odd, to meet every column
  return numbers[::stride].copy()


# After the rounds.


def _check_differ(name: str, played: list[_Round]) -> None:
  first_seen = {}
  for number, play in enumerate(played, start=1):
    earlier = first_seen.setdefault(_fingerprint(play.sample), number)
    if earlier != number:
      raise TimingError(
        f'{name} gave the same output in rounds {earlier} and {number}, whose '
        'inputs differ: the output is cached, or independent of the input.'
      )


def _check_repeat(contestant: _Contestant, played: list[_Round]) -> None:
  """Asks for the last and the first round again, in that order.

  An output may differ by rounding, but never be bit by bit that of another
  call: so staleness shows even where rounds hardly differ.
  """
  known = {_fingerprint(play.sample) for play in played}
  for number in (len(played), 1):
    was, again = played[number - 1].sample, _play(contestant, number).sample
    if _fingerprint(was) == _fingerprint(again):
      continue
    if _fingerprint(again) in known or not _agree(was, again):
      raise TimingError(
        f'{contestant.name} gave a different output when round {number} was '
        'repeated: it returns results of earlier calls, or is not pure.'
      )
    known.add(_fingerprint(again))


def _fingerprint(sample: list[np.ndarray]) -> bytes:
  return b'|'.join(leaf.tobytes() for leaf in sample)


def _agree(was: list[np.ndarray], again: list[np.ndarray]) -> bool:
  return len(was) == len(again) and all(map(_leaf_agrees, was, again))


def _leaf_agrees(was: np.ndarray, again: np.ndarray) -> bool:
  """Says whether max|was - again| <= tolerance max|was|; integers are equal."""
  if was.shape != again.shape:
    return False
  if not jnp.issubdtype(was.dtype, jnp.inexact):
    return np.array_equal(was, again)
  tolerance = max(1e-4, 4 * float(jnp.finfo(was.dtype).eps))
  was, again = was.astype(np.complex128), again.astype(np.complex128)
  finite = np.isfinite(was)
  if not np.array_equal(finite, np.isfinite(again)):
    return False
  error = np.max(np.abs(was - again), where=finite, initial=0.0)
  size = np.max(np.abs(was), where=finite, initial=0.0)
  return bool(error <= tolerance * size)


def _timing(
  contestant: _Contestant, played: list[_Round], peak: float | None
) -> Timing:
  seconds = tuple(play.seconds for play in played)
  flops = contestant.flops
  total = None if flops is None else sum(flops.values())
  suspect = False
  if total:
    peak = _checked_peak(contestant.name, flops, min(seconds), peak)
    suspect = total / min(seconds) > _PEAK_MARGIN * peak
  return Timing(
    contestant.compile_seconds,
    seconds,
    total,
    contestant.peak_bytes,
    peak if total else None,
    suspect,
  )


# The machine.


def _checked_peak(
  name: str, flops: Mapping[str, int], fastest: float, peak: float | None
) -> float:
  """Returns the peak for these FLOPs, measured again where one exceeds it.

  Raises:
    TimingError: the time implies several times the peak.
  """
  total = sum(flops.values())
  limit = peak or _blended_peak(flops)
  for _ in range(_PEAK_REPEATS):
    if peak is not None or total / fastest <= _PEAK_MARGIN * limit:
      break
    for dtype in flops:  # perhaps the machine was busy when it was measured
      _PEAKS[_peak_key(dtype)] = max(matmul_peak(dtype), _measure_peak(dtype))
    limit = _blended_peak(flops)
  if total / fastest > _IMPOSSIBLE * limit:
    raise TimingError(
      f'{name} took {fastest:.3g} s for {total:.3g} FLOPs, which implies '
      f'{total / fastest:.3g} FLOP/s, but matmuls reach {limit:.3g} here: '
      'the work was not waited for, or not done; or another process uses the '
      f'device{_load()}.'
    )
  return limit


def _load() -> str:
  """Returns the load of the machine in words, where the system knows it."""
  if not hasattr(os, 'getloadavg'):
    return ''
  return f' (the load is {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs)'


def _blended_peak(flops: Mapping[str, int]) -> float:
  """FLOPs over the seconds they need if each dtype runs at its own peak."""
  seconds = sum(n / matmul_peak(dtype) for dtype, n in flops.items())
  return sum(flops.values()) / seconds


def _peak_key(dtype) -> tuple:
  precision = jax.config.jax_default_matmul_precision
  return jnp.dtype(dtype).name, jax.default_backend(), precision


def _measure_peak(dtype) -> float:
  size, chain = by_platform(cpu=(1024, 2), accelerator=(8192, 4))
  x = jax.random.normal(jax.random.key(0), (size, size)) / math.sqrt(size)
  x = x.astype(dtype)

  @jax.jit
  def multiply(x, w):
    for _ in range(chain):
      x = x @ w
    return x

  _timed_call('matmul', multiply, (x, x))
  seconds = []
  while len(seconds) < 3 or sum(seconds) < 0.3:
    seconds.append(_timed_call('matmul', multiply, (x, x))[0])
  flops = flops_lib.flops_per_multiply_add(dtype) * chain * size**3
  return flops / min(seconds)
