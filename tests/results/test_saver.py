"""When states are saved: seldom, and the best all the same."""

import random
import types

import jax.numpy as jnp
import pytest

from seqjax.results import saver
from seqjax.results.checkpoint import Checkpoints


def best_of(scores, number):
  """The steps with the greatest scores, the first of equal ones."""
  return set(sorted(scores, key=lambda step: (-scores[step], step))[:number])


@pytest.mark.parametrize('best', [0, 1, 2])
def test_the_best_are_on_disk_whenever_a_later_state_is(
  best, tmp_path, monkeypatch
):
  """Whatever the clock says, and whoever goes on from there."""
  draw = random.Random(best)
  scores = {step: draw.choice([0.1, 0.2, 0.5, 0.9]) for step in range(1, 15)}
  clock = types.SimpleNamespace(monotonic=lambda: clock.now, now=0.0)
  monkeypatch.setattr(saver, 'time', clock)
  step = 0
  while step < 14:  # another process each time
    with Checkpoints(tmp_path, latest=1, best=best) as checkpoints:
      step = max(checkpoints.steps, default=0)
      saves = saver.Saver(checkpoints, 10.0)
      for _ in range(draw.randint(3, 6)):
        if step == 14:
          break
        step += 1
        state = {'number': jnp.array(step)}
        saves.offer(step, state, {}, scores[step])
        clock.now += draw.choice([0.0, 10.0])
        if step == 14:
          saves.save(step, state, {})
        else:
          saves.save_when_due(step, state, {})
        checkpoints.wait()
        if checkpoints.steps:
          newest = checkpoints.steps[-1]
          reached = {s: scores[s] for s in scores if s <= newest}
          assert {*checkpoints.steps} == best_of(reached, best) | {newest}
  assert checkpoints.restore({'number': jnp.array(0)})[0]['number'] == 14


def test_nothing_is_saved_before_its_time(tmp_path, monkeypatch):
  """Nor is a score of which nobody knows how good it is held."""
  clock = types.SimpleNamespace(monotonic=lambda: clock.now, now=0.0)
  monkeypatch.setattr(saver, 'time', clock)
  state = {'number': jnp.array(0)}
  with Checkpoints(tmp_path) as checkpoints:
    saves = saver.Saver(checkpoints, 10.0)
    for score in (None, float('nan')):
      saves.offer(1, state, {}, score)
    clock.now = 9.0
    saves.save_when_due(1, state, {})
    checkpoints.wait()
    assert not checkpoints.steps
    clock.now = 10.0
    saves.save_when_due(3, state, {})
    clock.now = 19.0
    saves.save_when_due(4, state, {})
    checkpoints.wait()
    assert checkpoints.steps == [3] and checkpoints.best is None
