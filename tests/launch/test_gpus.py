"""GPUs are shared among the processes of a sweep, one each."""

import os
import stat

from seqjax.launch import gpus


def test_processes_take_gpus_in_turn():
  """They are those that the environment names; without any, none is told."""
  two = {'CUDA_VISIBLE_DEVICES': '3, GPU-a'}
  assert gpus.shared(3, two) == ['3', 'GPU-a', '3']
  assert gpus.shared(1, two) == [None] and gpus.users(3, two) == 2
  none = {'CUDA_VISIBLE_DEVICES': '', 'PATH': ''}
  assert gpus.shared(2, none) == [None, None] and gpus.users(2, none) == 0


def test_gpus_are_those_that_the_driver_lists(tmp_path):
  """They are named by number; a machine without the program has none."""
  assert gpus.visible({'PATH': str(tmp_path)}) == []
  program = tmp_path / 'nvidia-smi'
  program.write_text('#!/bin/sh\necho "GPU 0: H"\necho "GPU 1: H"\n')
  program.chmod(program.stat().st_mode | stat.S_IEXEC)
  assert gpus.visible({'PATH': str(tmp_path)}) == ['0', '1']


def test_a_process_sees_one_and_the_parent_all(monkeypatch):
  """Also where nothing was named before."""
  for before in ('0,1', None):
    if before is None:
      monkeypatch.delenv(gpus.VISIBLE, raising=False)
    else:
      monkeypatch.setenv(gpus.VISIBLE, before)
    with gpus.seen('1'):
      assert os.environ[gpus.VISIBLE] == '1'
    assert os.environ.get(gpus.VISIBLE) == before
