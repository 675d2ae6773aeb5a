"""The cases that are measured, their sizes, and the bars they are held to."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

from experiments.peers import (
  attention,
  attention_layer,
  decoding,
  decoding_families,
  generating,
  linear,
  masked,
  matrix,
  recurrent,
  training,
)

WORKS = ('forward', 'forward+backward')


class Case(NamedTuple):
  """One problem that several libraries solve.

  Attributes:
    contestants: called with the work and the sizes, gives what makes each
      contestant, by name.
    sizes: what the problem's arrays are made of.
    works: what is done with it.
    timed: whether it is; or only its memory is measured.
    once: True: one process measures it, instead of several in every
      environment.
    against: the JAX peer that the bars speak of; None: the best one.
  """

  contestants: Callable
  sizes: Mapping[str, int]
  works: tuple[str, ...] = WORKS
  timed: bool = True
  once: bool = False
  against: str | None = None


class Bar(NamedTuple):
  """The largest ratio of ours to a peer's that is aimed at.

  Attributes:
    cases: names of cases.
    work: what is done in them.
    jax, torch: the bar against a JAX peer and against torch; None: no bar.
    quantity: 'seconds' or 'resident_bytes'.
    environment: the process environment it holds in; None: any.
    instruction_set: the one it holds for; None: any.
  """

  cases: tuple[str, ...]
  work: str
  jax: float | None
  torch: float | None = None
  quantity: str = 'seconds'
  environment: str | None = None
  instruction_set: str | None = None


def _layer(family: str, batch_size: int, features: int) -> Case:
  sizes = {'batch_size': batch_size, 'features': features, 'length': 256}
  return Case(functools.partial(recurrent.contestants, family), sizes)


def _heads(length: int) -> dict[str, int]:
  return {'batch_size': 4, 'heads': 4, 'head_size': 64, 'length': length}


def _linear(batch_size: int, features: int, length: int) -> Case:
  sizes = {'batch_size': batch_size, 'features': features, 'length': length}
  return Case(linear.contestants, sizes, against='jax.lax.associative_scan')


def _matrix(op: str) -> Case:
  sizes = {'batch_size': 1, 'heads': 4, 'head_size': 32, 'length': 4096}
  contestants = functools.partial(matrix.contestants, op)
  return Case(contestants, sizes, WORKS[1:], against=matrix.AT_ONCE)


def _masked(mixer: str, batch_size: int, length: int) -> Case:
  sizes = {'batch_size': batch_size, 'features': 64, 'length': length}
  contestants = functools.partial(masked.contestants, mixer)
  return Case(contestants, sizes, WORKS[1:], against=masked.UNMASKED)


def _training(kind: str) -> Case:
  sizes = {'batch_size': 64, 'features': 64, 'length': 128}
  contestants = functools.partial(training.contestants, kind)
  return Case(contestants, sizes, (training.WORK,))


def _decoding(layer: str, batch_size: int, past: int, **sizes: int) -> Case:
  sizes = {'batch_size': batch_size, 'past': past, 'tokens': TOKENS, **sizes}
  contestants = functools.partial(decoding.contestants, layer)
  return Case(contestants, sizes, (decoding.WORK,))


def _families(batch_size: int, past: int) -> Case:
  sizes = {'batch_size': batch_size, 'features': 64, 'past': past}
  sizes['tokens'] = TOKENS
  return Case(decoding_families.contestants, sizes, (decoding.WORK,), once=True)


def _generating(kind: str, batch_size: int, prompt: int = 16) -> Case:
  sizes = {'batch_size': batch_size, 'features': 64, 'prompt': prompt}
  sizes['tokens'] = 4 * TOKENS
  contestants = functools.partial(generating.contestants, kind)
  return Case(contestants, sizes, (decoding.WORK,))


TOKENS = 32  # of a call, so that launching it costs nothing beside them
BATCHES = (1, 16)
PASTS = (64, 1024, 16384)
LONG = 1024  # tokens of a prompt

CASES = {
  'lstm-b16-h64': _layer('lstm', 16, 64),
  'lstm-b16-h256': _layer('lstm', 16, 256),
  'lstm-b64-h64': _layer('lstm', 64, 64),
  'lstm-b1-h256': _layer('lstm', 1, 256),
  'gru-b16-h64': _layer('gru', 16, 64),
  'gru-b16-h256': _layer('gru', 16, 256),
  'gru-b64-h64': _layer('gru', 64, 64),
  'elman-b16-h64': _layer('elman', 16, 64),
  'elman-b16-h256': _layer('elman', 16, 256),
  'elman-b64-h64': _layer('elman', 64, 64),
  'attention-t1024': Case(attention.contestants, _heads(1024)),
  'attention-t2048': Case(attention.contestants, _heads(2048)),
  'attention-t4096': Case(
    attention.contestants, _heads(4096), WORKS[1:], timed=False
  ),
  'attention_layer-t1024': Case(attention_layer.contestants, _heads(1024)),
  'linear-b16-n64-t1024': _linear(16, 64, 1024),
  'linear-b4-n256-t4096': _linear(4, 256, 4096),
  **{f'matrix-{op}': _matrix(op) for op in matrix.OPS},
  'masks-elman': _masked('elman', 16, 256),
  'masks-gru': _masked('gru', 16, 256),
  'masks-lstm': _masked('lstm', 16, 256),
  'masks-mingru': _masked('mingru', 16, 1024),
  'masks-attention': _masked('attention', 4, 1024),
  'training-lstm': _training('lstm'),
  'training-transformer': _training('transformer'),
  **{
    f'decoding-{layer}-b{batch_size}': _decoding(
      layer, batch_size, 0, features=256
    )
    for layer in decoding.RECURRENT
    for batch_size in BATCHES
  },
  **{
    f'decoding-attention-b{batch_size}-p{past}': _decoding(
      'attention', batch_size, past, features=64, heads=4
    )
    for batch_size in BATCHES
    for past in PASTS
  },
  **{
    f'decoding-families-b{batch_size}-p{past}': _families(batch_size, past)
    for batch_size in BATCHES
    for past in (min(PASTS), max(PASTS))
  },
  **{
    f'generate-{kind}-b{batch_size}': _generating(kind, batch_size)
    for kind in ('lstm', 'transformer')
    for batch_size in BATCHES
  },
  **{
    f'generate-{kind}-b{batch_size}-p{LONG}': _generating(
      kind, batch_size, LONG
    )
    for kind in ('lstm', 'transformer')
    for batch_size in BATCHES
  },
}

# One case of each kind, at sizes that show only that everything runs.
_SMALL = {'batch_size': 2, 'features': 8, 'length': 16}
_SMALL_HEADS = {'batch_size': 2, 'heads': 2, 'head_size': 8, 'length': 16}
_SMALL_DECODING = {'batch_size': 2, 'features': 8, 'past': 16, 'tokens': 4}
_SMALL_MODEL = {'batch_size': 2, 'features': 64, 'prompt': 12, 'tokens': 8}


def _small(name: str) -> dict[str, int]:
  if name.startswith(('attention', 'matrix')):
    return _SMALL_HEADS
  if name.startswith('decoding'):
    heads = {'heads': 2} if 'attention' in name else {}
    return _SMALL_DECODING | heads
  return _SMALL_MODEL if name.startswith('generate') else _SMALL


QUICK = {
  f'quick_{name}': CASES[name]._replace(sizes=_small(name))
  for name in (
    'lstm-b16-h64',
    'gru-b16-h64',
    'elman-b16-h64',
    'attention-t1024',
    'attention-t4096',
    'attention_layer-t1024',
    'linear-b16-n64-t1024',
    *(f'matrix-{op}' for op in matrix.OPS),
    'masks-gru',
    'training-lstm',
    'training-transformer',
    *(f'decoding-{layer}-b16' for layer in decoding.RECURRENT),
    'decoding-attention-b1-p64',
    'generate-lstm-b1',
    'generate-transformer-b1',
  )
}
EVERY = {**CASES, **QUICK}
FAMILIES = tuple(dict.fromkeys(name.partition('-')[0] for name in CASES))

_ATTENTION = ('attention-t1024', 'attention-t2048')
_LINEAR = ('linear-b16-n64-t1024', 'linear-b4-n256-t4096')
_MATRIX = tuple(f'matrix-{op}' for op in matrix.OPS)
_MASKED = tuple(name for name in CASES if name.startswith('masks'))
_STEPS = tuple(
  name
  for name, case in CASES.items()
  if decoding.WORK in case.works and 'families' not in name
)
_BACKWARD = 'forward+backward'

BARS = (
  Bar(('lstm-b16-h64', 'lstm-b64-h64'), 'forward', 1.0, 1.1),
  Bar(('lstm-b16-h256',), 'forward', 0.95, 1.05),
  Bar(('lstm-b16-h64', 'lstm-b16-h256'), _BACKWARD, 0.72, 1.1),
  Bar(('lstm-b64-h64',), _BACKWARD, 0.70, 0.75, environment='default'),
  Bar(('lstm-b64-h64',), _BACKWARD, 0.70),
  Bar(('lstm-b1-h256',), 'forward', 0.65, 0.85),
  Bar(('lstm-b1-h256',), _BACKWARD, 0.65, 1.0),
  Bar(('gru-b16-h64', 'gru-b16-h256', 'gru-b64-h64'), _BACKWARD, 0.70, 0.55),
  Bar(('elman-b16-h64', 'elman-b16-h256'), _BACKWARD, 0.65, 0.45),
  Bar(('elman-b64-h64',), _BACKWARD, 0.70, 0.45),
  *(
    Bar(_ATTENTION, work, 0.35, against_torch, instruction_set=name)
    for work in WORKS
    for name, against_torch in (('AVX2', 0.75), ('AVX-512', 0.55))
  ),
  Bar(('attention-t4096',), _BACKWARD, 0.05, 1.0, quantity='resident_bytes'),
  Bar(_LINEAR, _BACKWARD, 0.40),
  Bar(_MATRIX, _BACKWARD, 0.70),
  Bar(_MATRIX, _BACKWARD, 1 / 3, quantity='resident_bytes'),
  Bar(_MASKED, _BACKWARD, 1.10),
  Bar(_MASKED, _BACKWARD, 1.05, quantity='resident_bytes'),
  Bar(('training-lstm',), training.WORK, 0.80),
  Bar(('training-transformer',), training.WORK, 1.0),
  Bar(_STEPS, decoding.WORK, 0.50, 1.0),
)


def family(case: str) -> str:
  """'quick_lstm-b16-h64' -> 'lstm'."""
  return case.removeprefix('quick_').partition('-')[0]
