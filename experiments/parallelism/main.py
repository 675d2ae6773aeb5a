"""Measures what a sequential scan costs against parallel attention.

    python -m experiments.parallelism --mixers=lstm,mamba2 --lengths=128,512
    python -m experiments.parallelism.main --work=training --length=1024

The first command times many cells and ends with a table, a figure and verdicts;
the second is one cell. A cell times all of its mixers at one (work, batch size,
length), interleaved, at equal parameters, and writes a row for each.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from experiments import command
from seqjax import experiment, results
from seqjax.analysis import decoding, flops, memory, timing
from seqjax.errors import Catalog
from seqjax.experiment import option
from seqjax.launch import memory_limits
from seqjax.models import features_for, num_parameters
from seqjax.nn import (
  MIXERS,
  MinGRU,
  SelfAttention,
  SequenceMixer,
  state_floats,
)

# From a name to what makes a mixer of (features, context).
ENTRIES = Catalog(
  'mixer',
  {
    **MIXERS,
    'lstm (plain)': functools.partial(MIXERS['lstm'], algorithm='plain'),
    'mingru': functools.partial(MinGRU, algorithm='scan'),
    'mingru (associative)': functools.partial(MinGRU, algorithm='associative'),
    'attention (plain)': functools.partial(
      MIXERS['attention'], algorithm='plain'
    ),
  },
  'python -m experiments.parallelism --mixers=help lists them',
)
# One mixer of every kind, and how much two of them gain by their fast forms.
COMPARED = (
  *('elman', 'gru', 'lstm', 'lstm (plain)', 'mingru', 'mingru (associative)'),
  *('tcn', 'attention', 'attention (plain)'),
)

WORKS = ('forward', 'training', 'decoding')
DECODED = 32  # tokens a timed call decodes, so that launching it costs nothing
SHARE = 0.25  # of the memory, which a cell may be predicted to need


@dataclasses.dataclass(frozen=True)
class Config:
  """The knobs of one cell."""

  work: str = option(
    'forward',
    'forward: outputs of a sequence; training: a loss and its gradients;'
    ' decoding: one token after another.',
    among=WORKS,
  )
  mixers: tuple[str, ...] = option(
    (), 'Mixers to time side by side; without any, one of each kind.', ENTRIES
  )
  batch_size: int = option(1, 'Number of sequences in a batch.')
  length: int = option(
    1024, 'Positions in a sequence; in decoding, positions already read.'
  )
  parameters: int = option(25000, 'Parameters per mixer, within a tenth.')
  rounds: int = option(11, 'Number of times each is timed, at least 11.')
  resident: bool = option(
    False, 'Also measure resident memory, in a process per mixer.'
  )

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


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., SequenceMixer]] = ENTRIES,
) -> dict[str, Any]:
  """Times the mixers of one cell; a finished cell is not timed again.

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
  made = check(config, mixers)
  with results.Run(workdir, config) as record:
    print(
      f'Compiling and timing {", ".join(made)}; written to {workdir}.',
      flush=True,
    )
    needed = {name: needed_bytes(mixer, config) for name, mixer in made.items()}
    limit = SHARE * memory.available_memory()
    timings = timing.compare(
      {
        name: contestant(mixer, config)
        for name, mixer in made.items()
        if needed[name] <= limit
      },
      rounds=config.rounds,
      flops={
        name: useful_flops(mixer, config)
        for name, mixer in made.items()
        if needed[name] <= limit
      },
    )
    rows = []
    for name, mixer in made.items():
      row = describe(name, mixer) | {'needed_bytes': needed[name]}
      if name in timings:
        row |= measured(timings[name], config)
        if config.resident and mixers is ENTRIES:
          row['resident_bytes'] = memory.peak_memory(
            'experiments.parallelism.main:prepared',
            name=name,
            **experiment.to_dict(config),
          )
      rows.append(row)
    return record.finish(rows=rows)


def check(
  config: Config, mixers: Mapping[str, Callable[..., SequenceMixer]] = ENTRIES
) -> dict[str, SequenceMixer]:
  """Makes the mixers of a cell, or refuses to in a sentence.

  Raises:
    ValueError: no width gives one of them as many parameters.
  """
  names = config.mixers or (COMPARED if mixers is ENTRIES else mixers)
  return {name: make_mixer(mixers[name], config) for name in names}


def make_mixer(
  make: Callable[..., SequenceMixer], config: Config
) -> SequenceMixer:
  """The mixer at the width that has the wanted number of parameters."""
  features = features_for(
    lambda width: make(width, config.length), config.parameters
  )
  return make(features, config.length)


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


def useful_flops(mixer, config: Config) -> int:
  """Counts the FLOPs of matmuls that the result takes, however computed.

  Of attention they are those of the pairs of positions that see each other,
  whose share of all pairs is what is left of the dense form's products, without
  the products that look for what is not finite.
  """
  if isinstance(mixer, SelfAttention):
    mixer = mixer.clone(algorithm='plain')
  function = functools.partial(_WORK[config.work], mixer)
  total = flops.count(function, *argument_shapes(mixer, config))
  if not isinstance(mixer, SelfAttention) or config.work == 'decoding':
    return total
  reach = mixer.receptive_field or config.length
  seen = sum(min(t + 1, reach) for t in range(config.length))
  products = 2 if config.work == 'forward' else 6
  unseen = config.length**2 - seen
  looked_at = config.length  # inputs that are looked through for NaN
  extra = products * unseen + looked_at
  return total - 2 * config.batch_size * mixer.features * extra


def prepared(name: str, **fields) -> Callable:
  """A call that does the work, compiled, for a child process to measure."""
  config = experiment.from_dict(Config, fields)
  mixer = make_mixer(ENTRIES[name], config)
  function, arguments = contestant(mixer, config)
  compiled = jax.jit(function).lower(*arguments).compile()
  return functools.partial(compiled, *arguments)


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
  seconds = [s / calls for s in measurement.seconds]
  low, high = (q / calls for q in measurement.quartiles)
  return {
    'seconds': measurement.median / calls,
    'lower_quartile': low,
    'upper_quartile': high,
    'round_seconds': seconds,
    'compile_seconds': measurement.compile_seconds,
    'matmul_flops': measurement.flops / calls,
    'share_of_peak': measurement.share_of_peak,
    'suspect': measurement.suspect,
    'peak_flops': measurement.peak,
    'peak_bytes': measurement.peak_bytes,
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


def _forward(mixer, variables, x):
  return mixer.apply(variables, x)


def _training(mixer, variables, x):
  def loss(variables, x):
    return jnp.mean(jnp.square(mixer.apply(variables, x)))

  return jax.value_and_grad(loss, argnums=(0, 1))(variables, x)


_WORK = {
  'forward': _forward,
  'training': _training,
  'decoding': decoding.decode,
}


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/parallelism')
