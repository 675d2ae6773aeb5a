"""The scripts: how processes are started, and what a bad flag gets."""

import importlib
import itertools
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

from experiments import reproduce
from seqjax.launch import cell_pool, process_environment

ROOT = pathlib.Path(__file__).parent.parent.parent


def test_what_the_user_set_is_appended_to_and_never_overwritten(monkeypatch):
  """A name that is given keeps its value."""
  environment = process_environment
  monkeypatch.setattr(environment.shutil, 'which', lambda name: None)
  monkeypatch.setattr(environment.platform, 'system', lambda: 'Linux')
  set_by_user = {
    'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=2',
    'XLA_FLAGS': '--xla_cpu_prefer_vector_width=256 --xla_foo=1',
  }
  found = environment.for_children(set_by_user)
  assert found['XLA_FLAGS'] == set_by_user['XLA_FLAGS']
  parts = found['GLIBC_TUNABLES'].split(':')
  assert parts[0] == 'glibc.malloc.hugetlb=2' and len(parts) == 4
  assert environment.for_children(found) == found
  monkeypatch.setattr(environment.platform, 'system', lambda: 'Darwin')
  assert environment.for_children({}) == {}


@pytest.mark.parametrize(
  'flag, message',
  [
    ('--preset=quik', "preset 'quik'. Did you mean 'quick'"),
    ('--only=recal', "experiment 'recal'. Did you mean 'recall'"),
    ('preset=quick', "but 'preset=quick' is not"),
  ],
)
def test_a_bad_flag_is_one_sentence_and_exit_code_2(flag, message, tmp_path):
  """Nothing runs, nothing is written."""
  done = subprocess.run(
    [sys.executable, '-m', 'experiments.reproduce', flag,
     f'--workdir={tmp_path}'],
    capture_output=True, text=True, timeout=120,
  )  # fmt: skip
  assert done.returncode == 2 and message in done.stderr
  assert 'Traceback' not in done.stderr and not list(tmp_path.iterdir())


def in_this_process(call, groups, *, processes):
  """`cell_pool.run` without the time that processes take to begin."""
  for cell in itertools.chain(*groups):
    yield cell, cell_pool.attempt(call, cell)


def test_finished_cells_are_kept_and_failed_ones_reported(
  tmp_path, monkeypatch
):
  """A stopped job goes on where it was; the others are not stopped by one."""
  main = importlib.import_module('experiments.recall.main')
  good, bad = (
    main.Config(lag=8, steps=51, batch_size=4, parameters=p)
    for p in (25000, 1)  # no width has a single parameter
  )
  monkeypatch.setattr(reproduce.cell_pool, 'run', in_this_process)
  failed = reproduce.run_all('recall', [bad, good], tmp_path, workers=1)
  assert len(failed) == 1 and 'No width' in failed[0][1]
  kept = {p: p.read_bytes() for p in tmp_path.rglob('summary.json')}
  assert len(kept) == 1
  assert reproduce.run_all('recall', [good], tmp_path, workers=1) == []
  assert kept == {p: p.read_bytes() for p in tmp_path.rglob('summary.json')}


@pytest.mark.slow
def test_a_worker_that_is_killed_does_not_take_the_others_with_it(tmp_path):
  """Its cells are tried once more, and the rest goes on."""
  main = importlib.import_module('experiments.recall.main')
  configs = [main.Config(lag=lag, steps=51, batch_size=4) for lag in (8, 9, 10)]

  def kill_one():
    workers = multiprocessing.active_children()
    assert workers
    os.kill(workers[0].pid, signal.SIGKILL)

  killer = threading.Timer(3.0, kill_one)  # while it still compiles
  killer.start()
  assert reproduce.run_all('recall', configs, tmp_path, workers=2) == []
  killer.join()
  assert len(list(tmp_path.rglob('summary.json'))) == 3
