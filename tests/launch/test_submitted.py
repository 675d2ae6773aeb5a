"""Commands as jobs of submitit, whose local executor stands for a cluster."""

import os
import pathlib
import signal
import sys
import time

import pytest

from seqjax.launch import submitted

SECONDS = 120  # until a job is given up
# The first time it waits for SIGTERM, the second time it ends.
COMMAND = """
import os, pathlib, signal, sys, time

def stop(*_):
  pathlib.Path('saved').touch()
  sys.exit(75)

signal.signal(signal.SIGTERM, stop)
if pathlib.Path('saved').exists():
  pathlib.Path('ended').touch()
  sys.exit(int(sys.argv[1]))
pathlib.Path('pids.new').write_text(f'{os.getpid()} {os.getppid()}')
pathlib.Path('pids.new').rename('pids')
while True:
  time.sleep(0.1)
"""


def submit(folder, code=0):
  command = [sys.executable, '-c', COMMAND, str(code)]
  (job,) = submitted.jobs([command], folder / 'jobs', {'cluster': 'local'})
  return job


def wait_for(path, job):
  until = time.monotonic() + SECONDS
  while not path.exists():
    assert time.monotonic() < until and not job.done(), job.stderr()
    time.sleep(0.05)


@pytest.mark.parametrize(
  'told, code', [(0, 0), (1, 3)], ids=['the command', 'the job']
)
def test_what_was_stopped_is_queued_again(told, code, tmp_path, monkeypatch):
  """Covers an end that the command is told of, and one that its job is."""
  pytest.importorskip('submitit')
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(submitted, 'POLL_SECONDS', 0.1)
  job = submit(tmp_path, code)
  wait_for(pathlib.Path('pids'), job)
  pid = int(pathlib.Path('pids').read_text().split()[told])
  os.kill(pid, (signal.SIGTERM, signal.SIGUSR2)[told])
  submitted.wait([job])
  assert pathlib.Path('ended').exists(), job.stderr()
  if code:
    assert 'The command ended with exit code 3' in str(job.exception())
  else:
    assert job.exception() is None


@pytest.mark.parametrize(
  'options, message',
  [
    ({'cluster': 'moon'}, 'any executor named moon'),
    ({'minutes': 3}, "'minutes' need to be prefixed"),
    ({'timeout_min': 'long'}, '"timeout_min" expected type'),
  ],
)
def test_options_that_submitit_does_not_take_are_refused(
  options, message, tmp_path
):
  """In its own words, and one sentence."""
  pytest.importorskip('submitit')
  options = {'cluster': 'local'} | options
  with pytest.raises(ValueError, match=message) as raised:
    submitted.jobs([], tmp_path / 'jobs', options)
  assert '\n' not in str(raised.value)


def test_without_submitit_the_extra_is_named(tmp_path, monkeypatch):
  """As pip installs it."""
  monkeypatch.setitem(sys.modules, 'submitit', None)
  with pytest.raises(ModuleNotFoundError, match=r"pip install '.\[submitit\]'"):
    submitted.jobs([], tmp_path / 'jobs', {})
