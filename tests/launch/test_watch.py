"""The line of progress, files for TensorBoard, a trace."""

import io
import sys

import jax.numpy as jnp
import pytest

from seqjax.launch import progress
from seqjax.launch.profile import Profile
from seqjax.launch.tensorboard import TensorBoard
from seqjax.launch.watch import Watch


class Terminal(io.StringIO):
  def isatty(self) -> bool:
    return True


def test_the_line_says_step_loss_speed_and_time_left(monkeypatch):
  """By the latest interval; a shorter line leaves nothing of a longer one."""
  times = iter([0.0, 2.0, 12.0])
  monkeypatch.setattr(progress.time, 'perf_counter', lambda: next(times))
  stream = Terminal()
  with progress.Progress(1000, 512, step=100, stream=stream) as line:
    line.update(jnp.int32(200), jnp.float32(0.5))
    line.update(700, 0.25)
  first, second = stream.getvalue().split('\r')[1:]
  assert first == ('step 200 of 1,000   loss 0.5   25.6k tokens/s   0:16 left')
  assert second.startswith(
    'step 700 of 1,000   loss 0.25   25.6k tokens/s   0:06 left'
  )
  assert second.endswith('\n') and len(second) > len(first)


def test_what_is_no_terminal_is_left_alone(monkeypatch):
  """A log has no use for a line that is written over."""
  stream = io.StringIO()
  with progress.Progress(10, 1, stream=stream) as line:
    line.update(5, 1.0)
  assert stream.getvalue() == ''


def test_metrics_are_written_for_tensorboard(tmp_path):
  """Numbers, and arrays that hold one; a run goes on behind its step."""
  pytest.importorskip('tensorboardX')
  with TensorBoard(tmp_path, step=3) as board:
    board.log(jnp.int32(5), loss=jnp.float32(0.5), note='text', lag=None)
  (path,) = (tmp_path / 'tensorboard').iterdir()
  content = path.read_bytes()
  assert b'loss' in content and b'note' not in content


def test_without_tensorboardx_a_sentence_says_what_to_install(
  tmp_path, monkeypatch
):
  """And nothing is written."""
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  with pytest.raises(ValueError, match=r"pip install 'seqjax\[tensorboard\]'"):
    Watch(tmp_path, 10, 1, tensorboard=True)
  assert not list(tmp_path.iterdir())


def test_a_trace_leaves_out_the_first_interval(tmp_path, monkeypatch):
  """It begins with the second, ends after some, or with the run."""
  calls = []
  profiler = 'seqjax.launch.profile.jax.profiler'
  monkeypatch.setattr(f'{profiler}.start_trace', calls.append)
  monkeypatch.setattr(f'{profiler}.stop_trace', lambda: calls.append('stop'))
  for intervals in (1, 3):
    with Profile(tmp_path, intervals=intervals) as profile:
      profile.update()
      assert calls == [tmp_path / 'profile']
      profile.update()
      assert ('stop' in calls) == (intervals == 1)
      profile.update()
    assert calls.pop() == 'stop' and calls.pop() == tmp_path / 'profile'
    assert not calls
