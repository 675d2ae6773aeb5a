"""Measures how gradients shrink or grow with the number of positions between.

    python -m experiments.gradients --mixers=lstm,mamba2
    python -m experiments.gradients.main --mixer=lstm

The first command measures many cells and ends with a table, a figure and
verdicts; the second is one cell: a mixer at initialisation, with all its seeds.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import command
from seqjax import errors, experiment, results
from seqjax.analysis import gradients
from seqjax.errors import Importable
from seqjax.experiment import option
from seqjax.nn import GRU, LSTM, MIXERS, CausalMixer, Elman

PARTS = 8  # lags are multiples of the longest one over this, and 1
RAW_NORM, CLIP = 100.0, 1.0  # of a gradient before it is clipped, and after

# From a name to what makes a mixer of (features, context). By itself, elman has
# orthogonal weights at spectral radius 1 and tanh; lstm, forget bias 1.
ENTRIES = Importable(
  'mixer',
  {
    **MIXERS,
    **{
      f'elman (radius {r:g})': functools.partial(Elman, spectral_radius=r)
      for r in (0.9, 1.1, 1.2, 1.5)
    },
    'elman (relu)': functools.partial(
      Elman, activation='relu', initialization='identity'
    ),
    **{
      f'lstm (forget bias {b:g})': functools.partial(LSTM, forget_bias=b)
      for b in (0.0, 3.0, 5.0)
    },
    'lstm (chrono)': lambda features, context: LSTM(
      features, context, max_lag=context
    ),
    'gru (chrono)': lambda features, context: GRU(
      features, context, max_lag=context
    ),
  },
  'python -m experiments.gradients --mixers=help lists them',
)


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of one cell: a mixer with all of its seeds."""

  mixer: str = option('lstm', 'Sequence mixer to measure.', among=ENTRIES)
  drive: float = option(1.0, 'Standard deviation of the inputs; 0: at rest.')
  features: int = option(32, 'Width of the mixer.')
  length: int = option(257, 'Number of positions: 1 and a multiple of 8.')
  seeds: int = option(8, 'Number of seeds.')
  first_seed: int = option(0, 'The first seed.')

  def __post_init__(self):
    errors.check_fields(self)
    least = {'drive': 0, 'features': 1, 'length': 17, 'seeds': 1}
    for name, bound in (least | {'first_seed': 0}).items():
      if getattr(self, name) < bound:
        raise ValueError(
          f'{name} is a number of at least {bound}, but {name}='
          f'{getattr(self, name)} was given.'
        )
    if (self.length - 1) % PARTS:
      raise ValueError(
        f'length is 1 and a multiple of {PARTS}, but length={self.length} was '
        'given.'
      )

  @property
  def lags(self) -> list[int]:
    step = (self.length - 1) // PARTS
    return [1, *range(step, self.length, step)]


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES,
) -> dict[str, Any]:
  """Measures one cell; a finished cell is not measured again."""
  experiment.validate(config, mixer=ENTRIES | mixers)
  mixer = check(config, mixers)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  # What sees a window carries its inputs, not a state that they change.
  of = 'state' if mixer.receptive_field is None else 'inputs'
  rows = []
  with results.Run(workdir, config) as record:
    for seed, found in enumerate(_measured(mixer, config), config.first_seed):
      norms = getattr(found.pop('norms'), of)
      columns = {name: _finite(value) for name, value in found.items()}
      rows += [
        {
          'seed': seed,
          'of': of,
          'lag': lag,
          'log_norm': _finite(norms[lag - 1]),
        }
        | columns
        for lag in config.lags
      ]
    return record.finish(rows=rows)


def check(
  config: Config, mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES
) -> CausalMixer:
  """Makes the mixer; raises ValueError where it refuses the width."""
  mixer = (ENTRIES | mixers)[config.mixer](config.features, config.length)
  x = jax.ShapeDtypeStruct((1, config.length, config.features), jnp.float32)
  jax.eval_shape(mixer.init, jax.random.key(0), x)
  return mixer


def _measured(mixer: CausalMixer, config: Config) -> list[dict[str, Any]]:
  """Returns what is measured of each seed, in one compiled function."""

  def one(seed):
    init_key, data_key = jax.random.split(jax.random.key(seed))
    x = jax.random.normal(data_key, (config.length, config.features))
    x = config.drive * x
    variables = mixer.init(init_key, x[None])
    found = {'norms': gradients.log_norms(mixer, variables, x)}
    if mixer.receptive_field is None:
      found['lyapunov'] = gradients.lyapunov_exponent(mixer, variables, x)
    return found | clipping(mixer, variables, x)

  seeds = config.first_seed + jnp.arange(config.seeds)
  found = jax.jit(lambda seeds: jax.lax.map(one, seeds))(seeds)
  found = jax.tree.map(np.asarray, found)
  return [
    jax.tree.map(lambda leaf, i=i: leaf[i], found) for i in range(config.seeds)
  ]


def clipping(mixer: CausalMixer, variables: Any, x: Any) -> dict[str, Any]:
  """Clips a gradient of norm 100 to 1, as training does.

  Returns:
    Its norm afterwards, and by how many nats the ratio of its norms at two
    positions has changed, at most.
  """
  gradient = jax.grad(lambda x: jnp.sum(mixer.apply(variables, x[None])[0, -1]))
  raw = gradient(x)
  raw = raw * (RAW_NORM / optax.tree.norm(raw))
  clip = optax.clip_by_global_norm(CLIP)
  clipped, _ = clip.update(raw, clip.init(raw))
  before, after = (jnp.linalg.norm(g, axis=1) for g in (raw, clipped))
  there = before > 1e-12  # what underflows has no ratio
  ratio = jnp.log(jnp.where(there, after / before, 1))
  high = jnp.max(jnp.where(there, ratio, -jnp.inf))
  low = jnp.min(jnp.where(there, ratio, jnp.inf))
  return {'clipped_norm': optax.tree.norm(clipped), 'clip_bends': high - low}


def _finite(value: Any) -> float | None:
  """Returns None for the logarithm of zero."""
  return float(value) if math.isfinite(value) else None


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/gradients')
