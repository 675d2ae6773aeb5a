"""Being asked to end, and gaining no more."""

import os
import signal
import threading

from seqjax.results import stopping


def test_sigterm_sets_an_event_and_is_as_before_after_it():
  """The process lives on, and decides itself."""
  heard = []
  before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
  try:
    with stopping.sigterm() as asked:
      assert not asked.is_set()
      os.kill(os.getpid(), signal.SIGTERM)
      assert asked.wait(10) and not heard
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard
  finally:
    signal.signal(signal.SIGTERM, before)


def test_in_another_thread_nothing_is_asked():
  """Where Python lets nobody listen."""
  found = []

  def listen():
    with stopping.sigterm() as asked:
      found.append(asked.is_set())

  thread = threading.Thread(target=listen)
  thread.start()
  thread.join()
  assert found == [False]


def test_patience_ends_after_so_many_evaluations_without_gain():
  """Equal is no gain, nor is NaN; a better one begins anew."""
  patience, over = stopping.Patience(), []
  for score in (0.1, 0.1, float('nan'), 0.2, 0.2, 0.1, 0.2):
    patience = patience.after(score)
    over.append(patience.is_over(3))
  assert over == [False] * 6 + [True]
  assert patience == stopping.Patience(0.2, 3) and not patience.is_over(0)
