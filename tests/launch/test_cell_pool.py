"""Cells in processes: what fails stays alone, what is bounded stays within."""

import importlib
import multiprocessing
import os
import pathlib
import signal
import sys
import textwrap
import time

import pytest

from seqjax.launch import cell_pool
from seqjax.launch.cell_pool import Cell

# What other processes can import.
PROGRAM = """
import dataclasses, os, pathlib, signal, time
from seqjax import results

@dataclasses.dataclass(frozen=True)
class Config:
  what: str

def run(config, folder):
  with open(pathlib.Path(folder) / 'began', 'a') as file:
    file.write(f'{os.getpid()}\\n')
  if config.what == 'fails':
    raise KeyError('no such thing')
  if config.what == 'takes too much':
    bytearray(2**36)
  if config.what == 'dies':
    print('its last words')
    os.kill(os.getpid(), signal.SIGKILL)
  if config.what == 'sleeps':
    time.sleep(600)
  if config.what.startswith('compiles'):
    import jax
    jax.jit(traced)(1.0)
  with results.Run(folder, config) as record:
    record.finish(cores=len(os.sched_getaffinity(0)), traces=len(TRACES))

TRACES = []

def traced(x):
  TRACES.append(x)
  return x + 1
"""


@pytest.fixture
def make(tmp_path, monkeypatch):
  """Cells by what they do, and the function that does it."""
  (tmp_path / 'cells_of_a_test.py').write_text(textwrap.dedent(PROGRAM))
  monkeypatch.syspath_prepend(str(tmp_path))
  module = importlib.import_module('cells_of_a_test')
  yield (
    lambda what: Cell(module.Config(what), str(tmp_path / what)),
    module.run,
  )
  del sys.modules['cells_of_a_test']


def log(cell: Cell) -> str:
  return (pathlib.Path(cell.folder) / cell_pool.LOG).read_text()


def began(cell: Cell) -> list[str]:
  """The processes in which a cell was begun."""
  return (pathlib.Path(cell.folder) / 'began').read_text().split()


def test_what_is_compiled_is_kept_for_a_group_and_no_longer(make):
  """In one process, whose memory maps would run out otherwise."""
  cell, call = make
  first, second, other = (cell(f'compiles {i}') for i in range(3))
  ended = dict(cell_pool.run(call, [[first, second], [other]]))
  assert set(ended.values()) == {None}
  assert began(first) == began(second) == began(other)
  traces = [
    cell_pool.finished(each.folder, each.config)['traces']
    for each in (first, second, other)
  ]
  assert traces == [1, 1, 2]


@pytest.mark.skipif(sys.platform != 'linux', reason='bounds are those of Linux')
def test_a_cell_that_fails_or_dies_takes_no_other_with_it(make):
  """Nor does one that takes too much; both are tried once more."""
  cell, call = make
  whats = ('first', 'fails', 'takes too much', 'dies', 'last')
  first, fails, large, dies, last = cells = [cell(what) for what in whats]
  ended = dict(
    cell_pool.run(call, [cells], processes=1, cores=1, memory=8 * 2**30)
  )
  assert set(ended) == set(cells) and ended[first] is ended[last] is None
  assert ended[fails] == "KeyError: 'no such thing'"
  assert 'Traceback' in log(fails) and 'no such thing' in log(fails)
  assert ended[large].startswith('MemoryError') and 'SIGKILL' in ended[dies]
  assert log(dies).count('its last words') == 2 and len(set(began(dies))) == 2
  assert began(first)[0] == began(large)[0]  # a group shares a process
  assert len(began(large)) == len(set(began(large))) == 2
  assert cell_pool.finished(last.folder, last.config)['cores'] == 1
  left, refused = cell_pool.waiting(cells)
  assert left == [fails, large, dies] and not refused
  ((other, why),) = cell_pool.waiting([Cell(last.config, first.folder)])[1]
  assert other.config == last.config and "'first' there" in why


@pytest.mark.parametrize('apart, processes', [(True, 2), (False, 1)])
def test_groups_are_kept_apart_on_request(apart, processes, make):
  """A process for each group, or one for all."""
  cell, call = make
  groups = [[cell('a'), cell('b')], [cell('c')]]
  ended = list(cell_pool.run(call, groups, apart=apart))
  assert [why for _, why in ended] == [None] * 3
  assert began(cell('a')) == began(cell('b'))
  assert len({*began(cell('b')), *began(cell('c'))}) == processes


def test_cells_that_run_end_with_the_sweep(make):
  """What was waiting for them is not left behind."""
  cell, call = make
  ended = cell_pool.run(call, [[cell('sleeps')], [cell('first')]], processes=2)
  assert next(ended) == (cell('first'), None)
  ended.close()
  assert not multiprocessing.active_children()
  assert (
    cell_pool.finished(cell('sleeps').folder, cell('sleeps').config) is None
  )


def test_cores_are_shared_without_overlap(monkeypatch):
  """Evenly, or so many each; more than there are is refused."""
  monkeypatch.setattr(
    os, 'sched_getaffinity', lambda pid: {0, 1, 2, 5, 6}, raising=False
  )
  assert cell_pool.shares(2, None) == [{0, 2, 6}, {1, 5}]
  assert cell_pool.shares(2, 2) == [{0, 1}, {2, 5}]
  assert cell_pool.shares(1, None) == [None]
  assert cell_pool.shares(6, None) == [None] * 6
  with pytest.raises(ValueError, match='need 6 cores, but 5 may be used'):
    cell_pool.shares(3, 2)
  with pytest.raises(ValueError, match='processes=0'):
    cell_pool.shares(0, None)


def test_bad_bounds_are_refused_before_anything_runs(make):
  """When the sweep is asked for its first cell."""
  cell, call = make
  with pytest.raises(ValueError, match='cores=0'):
    next(cell_pool.run(call, [[cell('first')]], cores=0))
  assert not pathlib.Path(cell('first').folder).exists()


def test_an_interrupt_is_a_sentence_and_exit_code_130(capsys):
  """Of a script that goes on where it was; what is wrong passes."""
  with pytest.raises(SystemExit) as exit, cell_pool.stoppable():
    raise KeyboardInterrupt
  assert exit.value.code == 130
  assert 'Finished cells are kept' in capsys.readouterr().err
  with pytest.raises(KeyError), cell_pool.stoppable():
    raise KeyError


def test_sigterm_is_a_sentence_and_exit_code_75(capsys):
  """As of a cell; what heard it before hears it again."""
  before = signal.getsignal(signal.SIGTERM)
  with pytest.raises(SystemExit) as exit, cell_pool.stoppable():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
  assert exit.value.code == 75
  assert 'the same command resumes' in capsys.readouterr().err
  assert signal.getsignal(signal.SIGTERM) == before
