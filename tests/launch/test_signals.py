"""Being asked to end, and gaining no more."""

import itertools
import os
import signal
import threading

from seqjax.launch import signals


def test_sigterm_sets_an_event_and_is_as_before_after_it():
  """The process lives on, and decides itself."""
  heard = []
  before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
  try:
    with signals.sigterm() as asked:
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
    with signals.sigterm() as asked:
      found.append(asked.is_set())

  thread = threading.Thread(target=listen)
  thread.start()
  thread.join()
  assert found == [False]


def test_a_piece_takes_about_as_long_as_it_should(monkeypatch):
  """The first step is compiled, and one slow reading does no harm."""
  seconds = itertools.chain([20.0], itertools.repeat(0.01))
  now, step, sizes = 0.0, 7, []
  monkeypatch.setattr(signals.time, 'monotonic', lambda: now)
  pace = signals.Pace(5.0)
  for _ in range(6):
    stop = pace(step)
    sizes.append(stop - step)
    now += sum(next(seconds) for _ in range(stop - step))
    step = stop
    pace.reached(step)
    now += 100.0  # something else
  assert sizes[:4] == [1, 1, 10, 100] and set(sizes[4:]) <= {499, 500}


def test_patience_ends_after_so_many_evaluations_without_gain():
  """Equal is no gain, nor is NaN; a better one begins anew."""
  patience, over = signals.Patience(), []
  for score in (0.1, 0.1, float('nan'), 0.2, 0.2, 0.1, 0.2):
    patience = patience.after(score)
    over.append(patience.is_over(3))
  assert over == [False] * 6 + [True]
  assert patience == signals.Patience(0.2, 3) and not patience.is_over(0)
