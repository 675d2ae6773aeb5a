"""Flags of every program at random and extreme values: seeded, uncompiled."""

import dataclasses
import random

import pytest

from seqjax import experiment
from seqjax.cli import (
  evaluate,
  generate,
  prepare_data,
  sweep,
  train,
  train_population,
)
from seqjax.experiment import field_types
from seqjax.launch import exits
from seqjax.tasks import TASKS
from tests import counts

PROGRAMS = {
  'evaluate': evaluate,
  'generate': generate,
  'prepare_data': prepare_data,
  'sweep': sweep,
  'train': train,
  'train_population': train_population,
}
CASES = 60  # a program
VALUES = {
  int: ['0', '1', '2', '-1', '3', '8', '1e3', '', 'nan', '2.5', '9' * 20]
  + ['2147483647', '2147483648', '4294967296'],
  float: ['0', '1', '-0.5', 'nan', 'inf', '-inf', '1e400', 'x', '1e-3', ''],
  str: ['', 'x', 'a,b', '\x00', 'é', '=', '1'],
  bool: ['true', 'false', 'maybe', ''],
}
OPTIONS = ['length=1e3', 'length=', 'length=[1]', 'length=-1', 'x=1', 'length']
OPTIONS += ['length=2147483648', 'lag=3', 'dtype=int32', 'features=4', ',,']
OPTIONS += ['num_heads=abc', 'seed=-1', 'length=9,length=8', '"', 'length="8"']
NAMED = {
  'task': [*TASKS, 'parityy'],
  'mixer': ['lstm', 'gru', 'attention', 'bidirectional', 'lsmt', ''],
  'task_options': OPTIONS,
  'mixer_options': OPTIONS,
  'dtype': ['float32', 'bfloat16', 'int32'],
  'layers': ['1', '2', '0', '10000000'],  # many take long to trace
}


def arguments(Config, rng):
  """Returns up to four flags with values that may be wrong."""
  kinds = field_types(Config)
  chosen = rng.sample(sorted(kinds), min(len(kinds), rng.randint(1, 4)))
  flags = []
  for name in chosen:
    item = kinds[name] if kinds[name] in VALUES else kinds[name].__args__[0]
    flags.append(f'--{name}={rng.choice(NAMED.get(name, VALUES[item]))}')
  return flags


def outcome(Config, run, flags, capsys):
  """Returns the exit code and what was written to stderr."""
  with pytest.raises(SystemExit) as exit:
    experiment.launch(Config, run, 'runs/none', ['program', *flags])
  return exit.value.code or 0, capsys.readouterr().err


@pytest.mark.parametrize('name', PROGRAMS)
def test_flags_are_taken_or_refused_in_a_sentence(name, capsys):
  """Exit code 2 and one line, before the program begins."""
  rng, codes = random.Random(0), []
  Config = PROGRAMS[name].Config
  for _ in range(CASES):
    flags = arguments(Config, rng)
    code, error = outcome(Config, lambda config, workdir: None, flags, capsys)
    assert code in (0, 2), (flags, error)
    assert error.count('\n') == (code == 2), (flags, error)
    codes.append(code)
  counts.show(f'flags of {name}', len(codes), codes.count(2))
  assert 0 < sum(codes) < 2 * CASES


def test_runs_are_checked_before_anything_is_compiled(capsys):
  """What the flags alone do not show: options of tasks and mixers."""
  rng, codes = random.Random(1), []

  @exits.guarded()
  def run(config, workdir):
    train.check(config)

  for _ in range(CASES // 3):  # those that are right are traced
    flags = arguments(train.Config, rng)
    code, error = outcome(train.Config, run, flags, capsys)
    assert code in (0, 2) and error.count('\n') == (code == 2), (flags, error)
    codes.append(code)
  counts.show('flags of a run, checked', len(codes), codes.count(2))
  assert 0 in codes and 2 in codes


@pytest.mark.parametrize('name', PROGRAMS)
def test_a_seed_is_a_number_of_32_bits(name, capsys):
  """Beyond, JAX would take the same key for several."""
  Config = PROGRAMS[name].Config
  if 'seed' not in {field.name for field in dataclasses.fields(Config)}:
    return
  run = lambda config, workdir: None  # noqa: E731
  for bad in (-1, 2**32, 2**63):
    code, error = outcome(Config, run, [f'--seed={bad}'], capsys)
    assert code == 2 and 'needs seed of at' in error and str(bad) in error
  code, _ = outcome(Config, run, [f'--seed={2**32 - 1}'], capsys)
  assert code == 0
