"""Measures a mixer by itself, with nothing trained.

Whether reading a sequence at once gives what reading it step by step gives; how
far back an output reaches; how the time of a training step grows with the
length; and how long decoding a token takes, over the LSTM's time. Times are
compared within one process alone.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from experiments import fit
from experiments.parallelism import main as parallelism
from experiments.parallelism.main import Config as Work
from seqjax import errors, experiment, results
from seqjax.analysis import decoding, timing
from seqjax.errors import Importable
from seqjax.experiment import option
from seqjax.nn import LSTM, MIXERS, CausalMixer

ENTRIES = Importable('mixer', MIXERS)
LENGTHS = 512, 2048  # between which the growth of time is measured
ROUNDS = 45  # of a comparison of times
DIFFERENCE = 'read at once: largest difference from steps'
REACH = f'reach: positions that an output sees, of {max(LENGTHS)}'
EXPONENT = 'training step: time grows as length to the power of'
TOKEN = "decoded token: time over the LSTM's"


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of one cell: a mixer at one width."""

  mixer: str = option('lstm', 'Sequence mixer to measure.', among=ENTRIES)
  features: int = option(32, 'Width of the mixer.')
  seeds: int = option(5, 'Number of repetitions.')
  first_seed: int = option(0, 'The first seed.')

  def __post_init__(self):
    errors.check_fields(self)
    fit.at_least(self, 'features', 1)
    fit.at_least(self, 'seeds', 1)
    fit.at_least(self, 'first_seed', 0)


Mixers = Mapping[str, Callable[..., CausalMixer]]


def run(
  config: Config, workdir: str, mixers: Mixers = ENTRIES
) -> dict[str, Any]:
  """Measures one mixer; what has finished is not done again."""
  experiment.validate(config, mixer=ENTRIES | mixers)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  mixer = check(config, mixers)
  seeds = range(config.first_seed, config.first_seed + config.seeds)
  with results.Run(workdir, config) as record:
    found = {
      DIFFERENCE: [difference(mixer, seed) for seed in seeds],
      REACH: [min(mixer.receptive_field or math.inf, max(LENGTHS))],
      EXPONENT: [exponent(mixer)],
      TOKEN: [token_time(mixer)],
    }
    return record.finish(
      rows=[
        {'measure': name, 'seed': seed, 'value': value}
        for name, values in found.items()
        for seed, value in zip(seeds, values, strict=False)
      ]
    )


def check(config: Config, mixers: Mixers = ENTRIES) -> CausalMixer:
  """Makes the mixer, for sequences of the longest of the lengths.

  Raises:
    ValueError: the mixer refuses the width.
  """
  mixer = (ENTRIES | mixers)[config.mixer](config.features, max(LENGTHS))
  parallelism.argument_shapes(
    mixer, Work(length=1)
  )  # it may refuse its width only now
  return mixer


def difference(mixer: CausalMixer, seed: int, length: int = 64) -> float:
  """Compares the outputs for a sequence with those of steps.

  Returns:
    The largest difference, over the largest output.
  """
  key, of_x = jax.random.split(jax.random.key(seed))
  x = jax.random.normal(of_x, (1, length, mixer.features))

  @jax.jit
  def outputs(x):
    variables = mixer.init(key, x)
    carry = mixer.initialize_carry(1)
    _, stepped = decoding.decode(mixer, variables, carry, x.swapaxes(0, 1))
    return mixer.apply(variables, x), stepped.swapaxes(0, 1)

  with jax.default_matmul_precision('highest'):
    at_once, stepped = map(np.asarray, outputs(x))
  return float(abs(at_once - stepped).max() / (abs(stepped).max() or 1.0))


def exponent(mixer: CausalMixer) -> float:
  """Returns by which power of the length the time of a training step grows."""
  works = {str(n): (mixer, Work(length=n)) for n in LENGTHS}
  short, long = map(str, LENGTHS)
  return math.log(_ratio(works, long, short)) / math.log(int(long) / int(short))


def token_time(mixer: CausalMixer) -> float:
  """Returns the time of a token over that of an LSTM of the same width."""
  works = {
    name: (each, Work(work='decoding', length=1))
    for name, each in (('lstm', LSTM(mixer.features)), ('mixer', mixer))
  }
  return _ratio(works, 'mixer', 'lstm')


def _ratio(
  works: Mapping[str, tuple[CausalMixer, Work]], above: str, below: str
) -> float:
  """Times two side by side; returns the median of their ratios."""
  timings = timing.compare(
    {name: parallelism.contestant(*work) for name, work in works.items()},
    rounds=ROUNDS,
    flops={n: parallelism.useful_flops(*work) for n, work in works.items()},
  )
  return timing.ratio(timings[above], timings[below]).value
