"""Every program: a main without arguments, a help text, one way to refuse."""

import importlib
import inspect
import os
import pathlib
import signal
import sys

import pytest

from seqjax.launch import process_environment

SETUP = pathlib.Path(__file__).parent.parent.parent / 'setup.py'
PROGRAMS = (
  *('train', 'evaluate', 'generate', 'sweep', 'export'),
  *('train_population', 'prepare_data'),
)


def call(name, *arguments, monkeypatch) -> int:
  """Returns the exit code of a program."""
  module = importlib.import_module(f'seqjax.cli.{name}')
  monkeypatch.setattr(sys, 'argv', [name, *arguments])
  # A sweep changes its process, which is that of the tests here.
  monkeypatch.setattr(process_environment, 'apply', lambda: None)
  monkeypatch.setattr(signal, 'signal', lambda *_: None)
  with pytest.raises(SystemExit) as exit:
    module.main()
  return exit.value.code


@pytest.mark.parametrize('name', PROGRAMS)
def test_help_is_the_docstring_and_every_option(name, monkeypatch, capsys):
  """On standard output, with exit code 0; no list is long."""
  assert call(name, '--help', monkeypatch=monkeypatch) == 0
  shown = capsys.readouterr().out
  module = importlib.import_module(f'seqjax.cli.{name}')
  assert shown.startswith(inspect.getdoc(module).splitlines()[0])
  for option in module.Config.__dataclass_fields__:
    assert f'{option}: ' in shown
  assert all(line.count(',') <= 12 for line in shown.splitlines())
  command = f'seqjax-{name.replace("_", "-")} = seqjax.cli.{name}:main'
  assert command in SETUP.read_text('utf-8')


@pytest.mark.parametrize('name', PROGRAMS)
def test_a_program_whose_output_nobody_reads_ends_without_a_word(
  name, monkeypatch, capsys
):
  """As in `program --help | head`, also when the interpreter ends."""
  reading, writing = os.pipe()
  os.close(reading)
  with open(writing, 'w') as stdout:  # closing it flushes, as at exit
    monkeypatch.setattr(sys, 'stdout', stdout)
    assert call(name, '--help', monkeypatch=monkeypatch) == 1
  assert capsys.readouterr().err == ''


@pytest.mark.parametrize('name', PROGRAMS)
@pytest.mark.parametrize(
  'argument, said',
  [
    ('--wrokdir=x', 'Unknown option'),
    ('--no_such_thing', "Unknown option '--no_such_thing'."),
    ('word', "Options are written --name=value, but 'word' is not."),
  ],
)
def test_a_bad_command_line_is_one_sentence_and_exit_code_2(
  name, argument, said, monkeypatch, capsys, tmp_path
):
  """In every program; nothing is written."""
  monkeypatch.chdir(tmp_path)
  assert call(name, argument, monkeypatch=monkeypatch) == 2
  captured = capsys.readouterr()
  assert captured.err.startswith(said) and captured.err.count('\n') == 1
  assert not captured.out and not list(tmp_path.iterdir())


@pytest.mark.parametrize('name, argument, said', [
  ('train', '--mixer=LSTM', "'LSTM'. Did you mean 'lstm'? 30 names "),
  ('train', '--steps=x', "--steps takes an integer, but 'x' was given."),
  ('train', '--corpus=x', 'A corpus is what the task text reads'),
  ('train_population', '--task=parety', "Did you mean 'parity'?"),
  ('train_population', '--how=vmpa', "Did you mean 'vmap'?"),
  ('evaluate', '--split=tst', "Did you mean 'test'?"),
  ('evaluate', '--workdir=none', "There is no run in 'none'"),
  ('generate', '--workdir=none', "There is no run in 'none'"),
  ('sweep', '--grid=mixer=LSTM', "'LSTM'. Did you mean 'lstm'? 30 names "),
  ('sweep', '--cores=9999', '1 processes of 9999 cores each'),
  ('prepare_data', '--prepare=mnst', "Did you mean 'mnist'?"),
])  # fmt: skip
def test_a_value_that_cannot_be_is_refused(
  name, argument, said, monkeypatch, capsys, tmp_path
):
  """With what was meant; a message never lists more than a few names."""
  monkeypatch.chdir(tmp_path)
  assert call(name, argument, monkeypatch=monkeypatch) == 2
  error = capsys.readouterr().err
  assert said in error and error.count('\n') == 1 and len(error) < 240
  assert not list(tmp_path.iterdir())
