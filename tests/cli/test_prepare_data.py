"""seqjax-prepare-data: what is here, what is written, what is damaged."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from seqjax.cli import prepare_data

SCRIPT = pathlib.Path(prepare_data.__file__)


@pytest.fixture
def data_dir(tmp_path):
  """A folder with the evaluation sets of recall, and one more."""
  pytest.importorskip('array_record')
  prepare_data.prepare(['recall'], str(tmp_path))
  return tmp_path


def test_what_is_written_is_listed_and_verified(data_dir, capsys):
  """A damaged file is named, and counted."""
  assert prepare_data.here(str(data_dir)) == {'real': [], 'frozen': ['recall']}
  assert '  here  recall' in prepare_data.listing(str(data_dir)).splitlines()
  assert prepare_data.verify(str(data_dir)) == 0
  assert 'recall: as it was written' in capsys.readouterr().out
  (path,) = data_dir.rglob('*test.array_record*')
  os.truncate(path, 100)
  assert prepare_data.verify(str(data_dir)) == 1
  assert f'{path} ends at byte 100' in capsys.readouterr().err


def test_names_are_checked_before_anything_is_written(tmp_path):
  """A good one before a bad one is not written either."""
  with pytest.raises(ValueError, match="data 'mnst'. Did you mean 'mnist'"):
    prepare_data.prepare(['recall', 'mnst'], str(tmp_path))
  assert not list(tmp_path.iterdir())


def test_a_task_that_is_read_is_refused_before_anything_is_written(tmp_path):
  """It has no evaluation set to freeze."""
  with pytest.raises(ValueError, match="Unknown data 'digits'"):
    prepare_data.prepare(['recall', 'digits'], str(tmp_path))
  assert not list(tmp_path.iterdir())


def test_a_folder_alone_is_not_what_should_be_in_it(data_dir, capsys):
  """It is not listed; what is half there is damaged, and the rest read."""
  (data_dir / 'cifar10').mkdir()
  (data_dir / 'mnist' / '3.0.1').mkdir(parents=True)
  assert prepare_data.here(str(data_dir))['real'] == []
  assert prepare_data.verify(str(data_dir)) == 1
  said = capsys.readouterr()
  assert 'mnist: DAMAGED' in said.err and 'recall: as it was' in said.out


def test_idx_files_are_mnist(tmp_path, capsys):
  """Listed and read."""
  for name, sizes in {
    'images-idx3': (10, 28, 28),
    'labels-idx1': (10,),
  }.items():
    header = bytes([0, 0, 8, len(sizes)]) + np.array(sizes, '>i4').tobytes()
    path = tmp_path / f't10k-{name}-ubyte'
    path.write_bytes(header + bytes(np.prod(sizes)))
  assert prepare_data.here(str(tmp_path))['real'] == ['mnist']
  assert prepare_data.verify(str(tmp_path)) == 0
  assert 'mnist as IDX files: as it was' in capsys.readouterr().out
  os.truncate(path, 9)
  assert prepare_data.verify(str(tmp_path)) == 1
  assert f'{path} should hold' in capsys.readouterr().err


def test_verifying_an_empty_folder_says_that_nothing_is_here(tmp_path, capsys):
  """Instead of nothing at all."""
  assert prepare_data.verify(str(tmp_path)) == 0
  assert f'Nothing is here, in {tmp_path}' in capsys.readouterr().out


@pytest.mark.parametrize('flags, code, said', [
  (['--list'], 0, '        mnist'),
  (['--prepare=recal'], 2, "Did you mean 'recall'"),
])  # fmt: skip
def test_the_command_line(tmp_path, flags, code, said):
  """A bad flag is one sentence and exit code 2."""
  done = subprocess.run(
    [sys.executable, SCRIPT, f'--data_dir={tmp_path}', *flags],
    capture_output=True, text=True, timeout=120,
  )  # fmt: skip
  assert done.returncode == code and 'Traceback' not in done.stderr
  assert said in (done.stderr if code else done.stdout)
