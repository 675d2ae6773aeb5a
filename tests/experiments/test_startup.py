"""Waits for a first result: what is run, and that it is what is timed."""

import json
import sys

import jax
import jax.numpy as jnp
import pytest

from experiments.startup import claims, compilation, main, plot, sweep, waits
from seqjax.launch import process_environment
from seqjax.nn import MIXERS, NONCAUSAL_MIXERS

# A program like seqjax-train, which writes the environment that it is run with.
PROGRAM = """
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[-1].partition('=')[2])
folder.mkdir(parents=True)
seen = {name: os.environ.get(name) for name in ('XDG_CACHE_HOME',
  'JAX_COMPILATION_CACHE_DIR', 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS')}
with open(%r, 'a') as log:
  log.write(json.dumps(seen) + '\\n')
(folder / 'metrics.jsonl').write_text('{}')
import time; time.sleep(600)
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
  """Puts PROGRAM in the place of the command; yields what it has written."""
  log = tmp_path / 'log'
  (tmp_path / 'standing_in.py').write_text(PROGRAM % str(log))
  monkeypatch.setenv('PYTHONPATH', str(tmp_path))
  monkeypatch.setattr(waits, 'COMMAND', ('standing_in',))
  return log


def test_each_pair_of_runs_has_an_empty_cache_of_its_own(program, monkeypatch):
  """Not the caller's; the second of a pair has that of the first."""
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', '/elsewhere')
  monkeypatch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
  rows = waits.until_metrics(processes=2)
  assert [row['what'] for row in rows] == list(waits.ALREADY)
  for row in rows:
    assert 0 < row['low'] <= row['seconds'] <= row['high']
  seen = [json.loads(line) for line in program.read_text().splitlines()]
  folders = [each.pop('XDG_CACHE_HOME') for each in seen]
  assert folders[0] == folders[1] != folders[2] == folders[3]
  assert {value for each in seen for value in each.values()} == {None}


def test_processes_have_the_environment_that_users_have(monkeypatch):
  """Without what experiments set for their cells; what users set stays."""
  for name in ('XLA_FLAGS', 'GLIBC_TUNABLES'):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv('XLA_FLAGS', '--xla_cpu_enable_fast_math=false')
  before = waits.as_users_have()
  with process_environment.applied():
    assert waits.as_users_have() == before
  program = 'import os; print(os.environ["XLA_FLAGS"])'
  printed = waits.run([sys.executable, '-c', program])
  assert printed == '--xla_cpu_enable_fast_math=false\n'


def test_a_layer_is_compiled_in_a_process_of_its_own(monkeypatch):
  """The process is given its name, and prints the number of the row."""
  calls = []
  monkeypatch.setattr(waits, 'run', lambda call: calls.append(call) or '1.5\n')
  rows = compilation.rows(mixer='gla', length=256, processes=5)
  assert rows == [{'what': 'compile', 'seconds': 1.5}]
  assert calls[0][1:] == ['-m', 'experiments.startup.compilation', 'gla', '256']


def test_a_command_that_fails_is_no_wait(tmp_path, monkeypatch):
  """Its last line says why."""
  (tmp_path / 'standing_in.py').write_text('raise SystemExit("No memory.")')
  monkeypatch.setenv('PYTHONPATH', str(tmp_path))
  monkeypatch.setattr(waits, 'COMMAND', ('standing_in',))
  with pytest.raises(RuntimeError, match='wrote no metrics: No memory'):
    waits.until_metrics(processes=1)
  monkeypatch.setattr(waits, 'MODULES', ('no_such_module',))
  with pytest.raises(RuntimeError, match='no_such_module'):
    waits.of_imports(processes=1)


def test_imports_are_beside_the_first_of_them(monkeypatch):
  """Whose ratio is 1; any module can be asked for."""
  monkeypatch.setattr(waits, 'MODULES', ('json', 'csv'))
  first, second = waits.of_imports(processes=2)
  assert first['what'] == 'import json' and first['ratio'] == 1
  assert second['ratio'] > 0


def test_what_is_compiled_is_the_gradient_for_parameters_and_inputs(
  monkeypatch,
):
  """Shapes alone are handed over, and the function gives both gradients."""
  assert compilation.ENTRIES['mingru'] is MIXERS['mingru']
  given = []
  monkeypatch.setattr(
    compilation.timing,
    'compile_seconds',
    lambda *arguments: given.append(arguments) or 1.5,
  )
  assert compilation.seconds('mingru', 7) == 1.5
  ((function, variables, x),) = given
  assert x.shape == (compilation.BATCH, 7, compilation.FEATURES)
  _, (of_variables, of_x) = jax.eval_shape(function, variables, x)
  assert jax.tree.structure(of_variables) == jax.tree.structure(variables)
  assert of_x.shape == x.shape and of_x.dtype == jnp.float32


def test_the_full_preset_compiles_every_layer_of_the_catalogue():
  """At four lengths."""
  made = sweep.cells(**sweep.PRESETS['full'])
  compiled = [config for config in made if config.part == 'compilation']
  assert {c.mixer for c in compiled} == set(MIXERS | NONCAUSAL_MIXERS)
  assert {c.length for c in compiled} == {256, 1024, 4096, 16384}
  assert len(made) == len(compiled) + 2


@pytest.mark.parametrize(
  'options',
  [{'mixer': 'gru'}, {'length': 7}, {'length': 0}, {'processes': 0}],
)
def test_options_of_another_part_are_refused(options):
  """One sentence that names what was given."""
  name, value = next(iter(options.items()))
  with pytest.raises(ValueError, match=f'{name}={value}'):
    main.Config(**options)


def test_the_summary_counts_what_is_as_short_as_was_aimed_at(tmp_path):
  """A planted wait that is too long changes the count; all are drawn."""
  rows = [
    {'part': 'command', 'what': waits.ALREADY[0], 'seconds': 5.0}
    | {'low': 4.0, 'high': 6.0, 'ratio': None},
    {'part': 'imports', 'what': 'import seqjax.nn', 'seconds': 9.0}
    | {'low': 8.0, 'high': 9.5, 'ratio': 1.2},
    {'part': 'compilation', 'what': 'compile', 'seconds': 2.0}
    | {'low': None, 'high': None, 'ratio': None},
  ]
  where = {
    'device': 'cpu',
    'cpus': 2,
    'precision': 'float32',
    'jax': '1',
    'commit': 'a' * 40,
  }
  rows = [{'mixer': 'gru', 'length': 256} | where | row for row in rows]
  assert '3 of 3 waits' in claims.summary(rows)
  late = [*rows[:2], rows[2] | {'seconds': 3.1}]
  assert '2 of 3 waits' in claims.summary(late)
  pytest.importorskip('matplotlib')
  plot.draw(rows, str(tmp_path / 'figure.svg'))
  drawn = (tmp_path / 'figure.svg').read_text()
  assert 'gru' in drawn and 'import seqjax.nn' in drawn


@pytest.mark.slow
def test_the_command_that_is_timed_writes_metrics():
  """Once with nothing compiled before, and again."""
  assert len(waits.until_metrics(processes=1)) == 2
