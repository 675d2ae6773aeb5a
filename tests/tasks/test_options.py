"""Options of every task and every mixer: types, finiteness, sizes; seeded."""

import dataclasses
import itertools
import random

import jax
import jaxtyping
import numpy as np
import pytest

from seqjax.cli.options import DTYPES, NOT_OPTIONS, parse_options
from seqjax.errors import field_kinds, wanted
from seqjax.nn import MIXERS, NONCAUSAL_MIXERS
from seqjax.tasks import TASKS
from tests import counts

ALL_MIXERS = MIXERS | NONCAUSAL_MIXERS
WRONG = {
  int: ['8', 2.5, 1e3, np.nan, None, True, (1,), [1], 10**30, -(10**30)],
  float: ['0.5', np.nan, np.inf, -np.inf, None, True, (1.0,), 1e39, 10**400],
  bool: ['true', 1, 0, None, 0.5],
  str: [1, None, 2.5, ('a',), True],
}
TEXTS = ['1e3', '', '[1]', 'abc', 'nan', 'None', '1.5', '(1,2)', '9' * 30]
EXTREME = {
  int: [0, 1, 2, 3, 8, 10, -1, 2**20, 2**20 + 1, 2**31 - 1, 2**31, 2**32],
  float: [0.0, 1e-30, 0.5, 1.0, 2.5, -1.0, 1e6, 3e38, -3e38],
  bool: [True, False],
}
NO_FILES = [n for n in TASKS if 'corpus' not in field_kinds(type(TASKS[n]()))]


@pytest.fixture(autouse=True)
def untyped(monkeypatch):
  """Turns checks of annotations off, as for users."""
  monkeypatch.setattr(jaxtyping.config, 'jaxtyping_disable', True)


def makers():
  """Yields (the kind's catalogue, name, class, its fields' types)."""
  for name in TASKS:
    cls = type(TASKS[name]())
    yield TASKS, name, cls.__name__, field_kinds(cls)
  for name in ALL_MIXERS:
    yield (
      ALL_MIXERS,
      name,
      ALL_MIXERS[name].__name__,
      field_kinds(ALL_MIXERS[name]),
    )


def make(catalog, name, options):
  """Makes a task, or a mixer of eight features."""
  if catalog is TASKS:
    return catalog[name](**options)
  return catalog[name](**{'features': 8, 'context': 16} | options)


@pytest.mark.parametrize(
  'catalog', [TASKS, ALL_MIXERS], ids=['tasks', 'mixers']
)
def test_every_option_of_a_wrong_type_is_named_with_its_value(catalog):
  """When it is made; what is not finite has a wrong type too."""
  tried = 0
  for of, name, owner, kinds in makers():
    for field, kind in kinds.items():
      if of is not catalog or kind not in WRONG:
        continue
      for value in WRONG[kind]:
        tried += 1
        with pytest.raises(ValueError, match=f'^{owner} needs {field} '):
          make(of, name, {field: value})
  counts.show('options of a wrong type, in Python', tried, tried)
  assert tried > 500


@pytest.mark.parametrize(
  'catalog', [TASKS, ALL_MIXERS], ids=['tasks', 'mixers']
)
def test_every_option_of_a_wrong_type_is_refused_in_text(catalog):
  """As the command line gives them; some are right: None, 1.5, a tuple."""
  tried = refused = 0
  what = 'task' if catalog is TASKS else 'mixer'
  for of, name, owner, kinds in makers():
    for field, text in itertools.product(kinds, TEXTS):
      if of is not catalog or field in NOT_OPTIONS:
        continue
      tried += 1
      try:
        options = parse_options(f'{field}={text}', of[name], what)
      except ValueError as error:
        refused += 1
        assert field in str(error) and owner in str(error)
      else:
        assert kinds[field] is str or set(options) == {field}
        if kinds[field] is int:
          pytest.fail(f'{owner} took {field}={text}')
  counts.show('options of a wrong type, in text', tried, refused)
  assert tried > 500 and refused > 300


def test_options_at_their_limits_are_refused_or_give_batches():
  """No traceback, no hang, nothing compiled: extreme and random values."""
  rng = random.Random(0)
  made = tried = 0
  for name in NO_FILES:
    cls = type(TASKS[name]())
    kinds = {f: k for f, k in field_kinds(cls).items() if k in EXTREME}
    for _ in range(3):
      tried += 1
      fields = rng.sample(sorted(kinds), min(len(kinds), rng.randint(1, 2)))
      options = {f: rng.choice(EXTREME[kinds[f]]) for f in fields}
      try:
        task = TASKS[name](**options)
        if task.on_device:
          jax.eval_shape(lambda task=task: task.batch(jax.random.key(0), 0, 2))
        made += 1
      except ValueError as error:
        assert '\n' not in str(error) and len(str(error)) < 400, error
  counts.show('tasks at their limits', tried, tried - made)
  assert made > 50


def test_mixers_at_their_limits_are_refused_or_made():
  """Nothing but a sentence."""
  rng = random.Random(0)
  made = tried = 0
  for name, cls in ALL_MIXERS.items():
    kinds = {f: k for f, k in field_kinds(cls).items() if k in EXTREME}
    for _ in range(10):
      tried += 1
      fields = rng.sample(sorted(kinds), min(len(kinds), rng.randint(1, 2)))
      options = {f: rng.choice(EXTREME[kinds[f]]) for f in fields}
      try:
        mixer = make(ALL_MIXERS, name, options)
        made += 1
        _ = getattr(mixer, 'receptive_field', None)
      except ValueError as error:
        assert '\n' not in str(error) and len(str(error)) < 400, error
  counts.show('mixers at their limits', tried, tried - made)
  assert made > 50


@pytest.mark.parametrize('dtype', ['int32', 'float9', int, None, 'complex64'])
def test_mixers_compute_in_floating_point(dtype):
  """An integer type would train zeros."""
  for name in ALL_MIXERS:
    for field in ('dtype', 'param_dtype'):
      with pytest.raises(ValueError, match=f'{field} to be a type of floating'):
        make(ALL_MIXERS, name, {field: dtype})


@pytest.mark.parametrize(
  'name, options, message',
  [
    ('parity', {'length': 2**31}, 'length of at most 1048576'),
    ('parity', {'length': 2**31 - 1}, 'length of at most 1048576'),
    ('modular_arithmetic', {'modulus': 100003}, 'modulus of at most 1024'),
    ('lag_copy', {'num_symbols': 2.5}, 'num_symbols to be a whole number'),
    ('two_spirals', {'turns': float('inf')}, 'turns to be a finite number'),
    ('mqar', {'power': float('nan')}, 'power to be a finite number'),
    ('mqar', {'power': 100.0}, 'power of at most 16'),
    ('random_labels', {'seed': -1}, 'seed of at least 0'),
    ('random_labels', {'seed': 2**32}, 'seed of at most 4294967295'),
    ('hierarchical_motifs', {'depth': 99}, 'branching=2 and depth=99'),
    ('autoregressive', {'coefficients': ()}, 'one coefficient or more'),
    ('autoregressive', {'coefficients': (0.5, 'x')}, 'a tuple of finite'),
    ('sine', {'noise': 1e-9}, 'noise of 0.001'),
    ('tau_window', {'series': 'abc'}, "series task.*'abc'"),
    ('fixed_training_set', {'task': 'abc'}, "wraps a task, but 'abc'"),
    ('motifs', {'positions': (1, 2, 3)}, 'a tuple of 2 whole numbers or None'),
  ],
)
def test_what_cannot_be_computed_is_refused_with_what_can(
  name, options, message
):
  """Before anything is sampled."""
  with pytest.raises(ValueError, match=message):
    TASKS[name](**options)


def test_values_with_commas_stand_in_quotes_or_brackets():
  """And text stays text: a column may be called 0."""
  parse = parse_options
  found = parse('path="a,b.csv",column=0', TASKS['csv_series'], 'task')
  assert found == {'path': 'a,b.csv', 'column': '0'}
  found = parse('coefficients=(0.5,0.2),length=9', TASKS['autoregressive'], '')
  assert found == {'coefficients': (0.5, 0.2), 'length': 9}
  found = parse('positions=[1,2]', TASKS['motifs'], 'task')
  assert found == {'positions': (1, 2)}
  with pytest.raises(ValueError, match='TauWindow takes series from Python'):
    parse('series=abc', TASKS['tau_window'], 'task')


def test_every_type_of_an_option_is_checked_or_known():
  """A new kind of field is added to the checks, or to this list."""
  unchecked = {
    (owner, field)
    for _, _, owner, kinds in makers()
    for field, kind in kinds.items()
    if wanted(kind) is None and field not in DTYPES
  }
  assert unchecked == {
    ('TauWindow', 'series'),
    ('Rollout', 'series'),
    ('FixedTrainingSet', 'task'),
    ('PermutedPositions', 'task'),
    ('Bidirectional', 'mixer'),
    ('CSVSeries', 'scale'),
    ('Lorenz', 'scale'),
    ('MackeyGlass', 'scale'),
  }


def test_a_task_of_ones_own_is_checked_too():
  """Whatever its own checks are, types come first; also where they mix in."""

  class Limits:
    def __post_init__(self):
      if self.length > 9:
        raise ValueError('too long')

  @dataclasses.dataclass(frozen=True)
  class Mine(type(TASKS['adding']()).__mro__[1], Limits):
    length: int = 3

  Mine(9)
  for value, message in ((10, 'too long'), ('10', 'Mine needs length to be')):
    with pytest.raises(ValueError, match=message):
      Mine(value)
