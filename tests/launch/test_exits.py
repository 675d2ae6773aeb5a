"""The exit code that each kind of end has, and its sentence."""

import os
import sys

import jax
import pytest

from seqjax.errors import UnknownName
from seqjax.experiment import pipes
from seqjax.launch import exits, signals, single_process


@pytest.mark.parametrize('error, code, said', [
  (ValueError('No.'), 2, 'No.'),
  (UnknownName('Unknown.'), 2, 'Unknown.'),
  (FileNotFoundError(2, 'Not there', 'x'), 2, "[Errno 2] Not there: 'x'"),
  (ModuleNotFoundError('Install it.'), 2, 'Install it.'),
  (OSError(28, 'The disk is full'), 1, '[Errno 28] The disk is full'),
  (FloatingPointError('NaN.'), 1, 'NaN.'),
  (MemoryError('Too much.'), 1, 'Too much.'),
  (jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: x'), 1, 'Half would fit.'),
  (signals.Preempted('Saved.'), 75, 'Saved.'),
  (KeyboardInterrupt(), 130, 'Interrupted; the same command resumes from the '
   'last checkpoint.'),
])  # fmt: skip
def test_every_end_has_a_sentence_and_an_exit_code(error, code, said, capsys):
  """Bad input is 2, failures are 1; a signal says how to resume."""

  @exits.guarded(lambda config: f'{config} would fit.', resumes=True)
  def program(config):
    raise error

  with pytest.raises(SystemExit) as exit:
    program('Half')
  assert exit.value.code == code and capsys.readouterr().err == said + '\n'


def test_a_pipe_that_nobody_reads_is_left_to_the_launcher(monkeypatch, capsys):
  """It ends the program quietly; another broken pipe is a failure."""

  @exits.guarded()
  def program():
    raise BrokenPipeError(32, 'Broken pipe')

  with pytest.raises(SystemExit) as exit:
    program()
  assert exit.value.code == 1 and 'Broken pipe' in capsys.readouterr().err
  reading, writing = os.pipe()
  with open(writing, 'w') as stdout:
    os.close(reading)
    monkeypatch.setattr(sys, 'stdout', stdout)
    with pytest.raises(SystemExit) as exit, pipes.ended_quietly():
      program()
  assert exit.value.code == 1 and capsys.readouterr().err == ''


def test_mistakes_of_ours_are_not_hidden():
  """They keep their traceback, and a program its docstring."""

  @exits.guarded()
  def program():
    """Does it."""
    raise KeyError('x')

  assert program.__doc__ == 'Does it.' and program.__module__ == __name__
  with pytest.raises(KeyError):
    program()


@pytest.mark.parametrize('name', single_process.COUNTS)
def test_a_job_of_several_processes_is_refused(name, monkeypatch, capsys):
  """Before the program begins; one of one task is not."""

  @exits.guarded()
  def program():
    return 'began'

  monkeypatch.setenv(name, '1')
  assert program() == 'began'
  monkeypatch.setenv(name, '4')
  with pytest.raises(SystemExit) as exit:
    program()
  assert exit.value.code == 2
  assert f'has started 4 ({name}=4)' in capsys.readouterr().err
