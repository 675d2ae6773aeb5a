"""Measures what a sequential scan costs against parallel attention.

    python -m experiments.parallelism --mixers=lstm,mamba2,attention
    python -m experiments.parallelism.main --work=training --length=1024

The first command times many cells and ends with a table, a figure and verdicts;
the second is one cell. A cell times all of its mixers side by side, at equal
parameters, and writes a row for each; or it checks that recurrences are solved
in parallel over time (work 'exact').
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from experiments import command
from experiments.parallelism import exact
from seqjax import experiment, results
from seqjax.analysis import decoding, flops, memory, timing
from seqjax.errors import Importable
from seqjax.experiment import option
from seqjax.launch import memory_limits
from seqjax.models import features_for, num_parameters
from seqjax.models.block import Block
from seqjax.models.size import TOLERANCE
from seqjax.nn import MIXERS, SelfAttention, state_floats
from seqjax.nn.mixer import SequenceLayer

# From a name to what makes a mixer of (features, context).
ENTRIES = Importable(
  'mixer',
  {
    **MIXERS,
    'lstm (plain)': functools.partial(MIXERS['lstm'], algorithm='plain'),
    'mingru (associative)': functools.partial(
      MIXERS['mingru'], algorithm='associative'
    ),
    'attention (plain)': functools.partial(
      MIXERS['attention'], algorithm='plain'
    ),
  },
  'python -m experiments.parallelism --mixers=help lists them',
)
# Recurrences: nonlinear, linear in a vector, linear in a matrix.
COMPARED = (
  *('gru', 'lstm', 'mingru', 'mamba', 'mamba2', 'deltanet', 'attention'),
)

WORKS = ('training', 'decoding', 'exact')
BLOCKS = ('bare', 'block')
DECODED = 32  # tokens a timed call decodes, so that launching it costs nothing
LENGTH = 1024  # at which widths are chosen
SHARE = 0.25  # of the memory, which a cell may be predicted to need


@dataclasses.dataclass(frozen=True)
class Config:
  """The knobs of one cell."""

  work: str = option(
    'training',
    'training: a loss and its gradients; decoding: one token after another;'
    ' exact: recurrences solved in parallel, against a scan.',
    among=WORKS,
    named=True,
  )
  mixers: tuple[str, ...] = option(
    (),
    'Mixers to time side by side; without any, one of each kind.',
    ENTRIES,
    named=True,
  )
  parameters: int = option(
    25000, 'Parameters of each, within a tenth.', named=True
  )
  block: str = option(
    'bare',
    'bare: the mixer alone; block: with norms, residuals and a perceptron.',
    among=BLOCKS,
    named=True,
  )
  batch_size: int = option(1, 'Number of sequences in a batch.')
  length: int = option(
    1024, 'Positions in a sequence; in decoding, positions already read.'
  )
  process: int = option(0, 'Number of this one of several equal processes.')
  rounds: int = option(11, 'Number of times each is timed, at least 11.')

  def __post_init__(self):
    least = {'batch_size': 1, 'length': 1, 'parameters': 1, 'rounds': 11}
    for name, bound in least.items():
      if getattr(self, name) < bound:
        raise ValueError(
          f'{name} is a number of at least {bound}, but {name}='
          f'{getattr(self, name)} was given.'
        )
    if len(set(self.mixers)) < len(self.mixers):
      raise ValueError(
        f'mixers names each mixer once, but mixers={",".join(self.mixers)} was '
        'given.'
      )


Mixers = Mapping[str, Callable[..., SequenceLayer]]


def run(
  config: Config, workdir: str, mixers: Mixers = ENTRIES
) -> dict[str, Any]:
  """Measures one cell; a finished cell is not measured again.

  Args:
    config: the cell; `config.mixers` are keys of `mixers`.
    workdir: the folder that it is written to.
    mixers: from names to what makes a mixer of (features, context). All of a
      dict of one's own are timed where `config.mixers` names none.
  """
  experiment.validate(config, mixers=mixers)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  measure = _exact if config.work == 'exact' else _timed
  made = check(config, mixers)
  with results.Run(workdir, config) as record:
    print(
      f'Compiling and measuring {", ".join(made)}; written to {workdir}.',
      flush=True,
    )
    return record.finish(
      rows=[{'pid': os.getpid()} | row for row in measure(config, made)]
    )


def _exact(config: Config, made: Mapping[str, Any]) -> list[dict[str, Any]]:
  return [
    row
    for name in made
    for row in exact.rows(
      name, config.parameters, config.batch_size, config.length
    )
  ]


def _timed(
  config: Config, made: Mapping[str, SequenceLayer]
) -> list[dict[str, Any]]:
  """Returns a row per mixer; of one that would not fit, without seconds."""
  needed = {name: needed_bytes(layer, config) for name, layer in made.items()}
  limit = SHARE * memory.available_memory()
  fitting = {n: layer for n, layer in made.items() if needed[n] <= limit}
  timings = timing.compare(
    {name: contestant(layer, config) for name, layer in fitting.items()},
    rounds=config.rounds,
    flops={
      name: useful_flops(layer, config) for name, layer in fitting.items()
    },
  )
  return [
    describe(name, layer)
    | {'needed_bytes': needed[name]}
    | (measured(timings[name], config) if name in timings else {})
    for name, layer in made.items()
  ]


def check(config: Config, mixers: Mixers = ENTRIES) -> dict[str, Any]:
  """Makes what a cell measures, or refuses to in a sentence.

  Raises:
    ValueError: no width gives one of them as many parameters, or there is no
      recurrence to check.
  """
  names = config.mixers or (COMPARED if mixers is ENTRIES else tuple(mixers))
  if config.work == 'exact':
    chosen = config.mixers or tuple(exact.SOLVED)
    return {n: experiment.choose(exact.SOLVED, n, 'recurrence') for n in chosen}
  return {name: make_layer(mixers[name], config) for name in names}


def make_layer(
  make: Callable[..., SequenceLayer], config: Config
) -> SequenceLayer:
  """Returns the layer at the width that has the wanted parameters."""
  layer = functools.partial(_layer, make, config.block, config.length)
  made = layer(_width(make, config.block, config.parameters))
  if abs(num_parameters(made) / config.parameters - 1) <= TOLERANCE:
    return made
  return layer(features_for(layer, config.parameters))


def _layer(make, block: str, length: int, width: int) -> SequenceLayer:
  mixer = make(width, length)
  return Block(mixer) if block == 'block' else mixer


@functools.cache
def _width(make, block: str, parameters: int) -> int:
  """Returns the width at one length: of most mixers it serves for all."""
  return features_for(
    functools.partial(_layer, make, block, LENGTH), parameters
  )


def contestant(mixer, config: Config) -> tuple[Callable, tuple]:
  """Returns the function to time and its arguments."""
  function = functools.partial(_WORK[config.work], mixer)
  return function, decoding.filled(
    argument_shapes(mixer, config), config.length
  )


def needed_bytes(mixer, config: Config) -> int:
  """Bytes that the compiled work will hold at once, without running it.

  A compiler is asked only where one array of the traced work alone takes 1/400
  of the memory, and not more than all of it; elsewhere that array's bytes are
  given, a lower bound. (The compiled whole took up to 44 such arrays.)
  """
  function = functools.partial(_WORK[config.work], mixer)
  shapes = argument_shapes(mixer, config)
  return memory_limits.needed_bytes(function, *shapes, exact_from=1 / 400)


def useful_flops(layer: SequenceLayer, config: Config) -> int:
  """Counts the FLOPs of matmuls that the result takes, however computed.

  Of attention they are those of the pairs of positions that see each other,
  whose share of all pairs is what is left of the dense form's products, without
  the products that look for what is not finite.
  """
  mixer = getattr(layer, 'mixer', layer)
  attends = isinstance(mixer, SelfAttention)
  if attends:
    plain = mixer.clone(algorithm='plain')
    layer = plain if layer is mixer else layer.clone(mixer=plain)
  function = functools.partial(_WORK[config.work], layer)
  total = flops.count(function, *argument_shapes(layer, config))
  if not attends or config.work == 'decoding':
    return total
  reach = mixer.receptive_field or config.length
  seen = sum(min(t + 1, reach) for t in range(config.length))
  unseen = config.length**2 - seen
  # Inputs, and gradients of outputs, are looked through for NaN.
  looked_at = config.length * (2 if config.work == 'training' else 1)
  extra = 6 * unseen + looked_at
  return total - 2 * config.batch_size * mixer.features * extra


def describe(name: str, mixer) -> dict[str, Any]:
  """Columns that hold whether or not the mixer could be timed."""
  return {
    'mixer': name,
    'features': mixer.features,
    'mixer_parameters': num_parameters(mixer),
    'state_floats': state_floats(mixer),
  }


def measured(measurement: timing.Timing, config: Config) -> dict[str, Any]:
  """Columns of a timing; seconds are those of a sequence, or of a token."""
  calls = DECODED if config.work == 'decoding' else 1
  return {
    'seconds': measurement.median / calls,
    'round_seconds': [s / calls for s in measurement.seconds],
    'compile_seconds': measurement.compile_seconds,
    'matmul_flops': measurement.flops / calls,
    'share_of_peak': measurement.share_of_peak,
    'suspect': measurement.suspect,
    'peak_flops': measurement.peak,
    'needed_bytes': measurement.peak_bytes,
    'glibc_tunables': os.environ.get('GLIBC_TUNABLES', 'none'),
    'xla_flags': os.environ.get('XLA_FLAGS', 'none'),
  }


def argument_shapes(mixer, config: Config) -> tuple:
  """Parameters and inputs; in decoding the carry before the inputs.

  Decoding costs what it costs by the size of the carry, so that random numbers
  serve for one where a prefill of dense attention would not fit.
  """
  if config.work == 'decoding':
    return decoding.decoding_shapes(mixer, config.batch_size, DECODED)
  shape = config.batch_size, config.length, mixer.features
  variables = jax.eval_shape(
    mixer.init,
    jax.random.key(0),
    jax.ShapeDtypeStruct((1, 1, mixer.features), jnp.float32),
  )
  return variables, jax.ShapeDtypeStruct(shape, jnp.float32)


def _training(mixer, variables, x):
  def loss(variables, x):
    return jnp.mean(jnp.square(mixer.apply(variables, x)))

  return jax.value_and_grad(loss, argnums=(0, 1))(variables, x)


_WORK = {'training': _training, 'decoding': decoding.decode}


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/parallelism')
