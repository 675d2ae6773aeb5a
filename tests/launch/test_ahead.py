"""Work that threads do before it is needed."""

import threading

import pytest

from seqjax.launch.ahead import Ahead


def test_waiting_is_for_the_work_of_that_name_alone():
  """The first may go on while the second is waited for."""
  release, done = threading.Event(), []

  def first():
    release.wait()
    done.append('first')

  with Ahead(first=first, second=lambda: done.append('second')) as ahead:
    ahead.wait('second')
    assert done == ['second']
    release.set()
    ahead.wait('first')
    assert done == ['second', 'first']
    ahead.wait('what was never begun')


def test_leaving_ends_what_runs_and_cancels_what_waits():
  """Two threads: the third has not begun."""
  began, release, done = threading.Barrier(3), threading.Event(), []

  def work():
    began.wait()
    release.wait()
    done.append(True)

  with Ahead(a=work, b=work, c=lambda: done.append(False)):
    began.wait()
    threading.Timer(0.01, release.set).start()
  assert done == [True, True]


def test_an_error_is_not_kept_waiting():
  """It is raised while the work still runs."""
  release = threading.Event()
  with pytest.raises(ValueError), Ahead(work=release.wait):
    raise ValueError('Of another model.')
  release.set()


def test_work_that_fails_says_nothing():
  """Whoever needs it meets the error when it does the work itself."""

  def fail():
    raise ValueError('Too large.')

  with Ahead(work=fail) as ahead:
    ahead.wait('work')
