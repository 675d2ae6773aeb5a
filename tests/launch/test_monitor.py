"""Lines of metrics with the time left, and a trace."""

import io

import jax.numpy as jnp
import pytest

from seqjax.launch import monitor
from seqjax.launch.monitor import MetricsLines, Profile


class Terminal(io.StringIO):
  def isatty(self) -> bool:
    return True


@pytest.fixture
def clock(monkeypatch):
  """A clock that moves when it is told to."""
  times = [0.0]
  monkeypatch.setattr(monitor.time, 'perf_counter', lambda: times[0])
  return times


def train(lines, clock):
  """A minute of compilation; 50 steps a second; evaluations, one compiled."""
  clock[0] += 60.0
  lines.reached(101)
  clock[0] += 1.0
  lines.reached(151)
  clock[0] += 1.0
  lines.reached(201)
  clock[0] += 30.0
  lines.update(jnp.int32(201), loss=jnp.float32(0.5), padding=0.0)
  clock[0] += 9.0
  lines.reached(701)
  clock[0] += 1.0
  lines.update(701, loss=0.25, validation=0.75)


EXPECTED = [
  'compiling the training step ...',
  'step 101 of 1,001: compiled in 60.0 s',
  'step 201 of 1,001: loss 0.5, 25.6k tokens/s, 00:16 left',
  'step 701 of 1,001: loss 0.25, validation 0.75, 25.6k tokens/s, 00:06 left',
]


def test_lines_hold_metrics_speed_and_time_left(clock):
  """The latest interval counts, and no compilation does."""
  stream = io.StringIO()
  with MetricsLines(1001, 512, step=100, stream=stream) as lines:
    train(lines, clock)
  assert stream.getvalue().splitlines() == EXPECTED


def test_a_terminal_has_one_line_that_is_written_over(clock, monkeypatch):
  """A shorter line leaves nothing of a longer one."""
  monkeypatch.setenv('COLUMNS', '100')
  stream = Terminal()
  with MetricsLines(1001, 512, step=100, stream=stream) as lines:
    train(lines, clock)
    lines.update(751, loss=0.25)
  written = stream.getvalue()
  assert written.count('\n') == 1 and written.endswith('\n')
  shown = [text.split(' |')[0] for text in written.split('\r')]
  places = [shown.index(line) for line in EXPECTED]
  assert places == sorted(places)
  *_, longer, shorter = filter(str.strip, written.split('\r'))
  assert len(shorter.rstrip('\n')) >= len(longer.rstrip())


def test_without_a_terminal_lines_are_few(clock):
  """One every so many seconds; the last one without fail."""
  stream = io.StringIO()
  with MetricsLines(1000, 1, stream=stream) as lines:
    for step in range(10, 500, 10):
      clock[0] += 1.0
      lines.reached(step)
      lines.update(step, loss=step)
  steps = [int(line.split()[1]) for line in stream.getvalue().splitlines()[1:]]
  assert steps == [10, 110, 210, 310, 410, 490]


def test_before_there_was_an_interval_no_time_is_left(clock):
  """A run of one step, say, or one that evaluates after every step."""
  stream = io.StringIO()
  with MetricsLines(1, 512, stream=stream) as lines:
    lines.reached(1)
    lines.update(1, loss=2.0)
  assert stream.getvalue().endswith('step 1 of 1: loss 2\n')


def test_a_trace_leaves_out_the_first_interval(tmp_path, monkeypatch):
  """It begins with the second, ends after some, or with the run."""
  calls = []
  profiler = 'seqjax.launch.monitor.jax.profiler'
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


def test_a_run_that_goes_on_for_longer_never_has_less_than_no_time(clock):
  """As one whose learning rates turn out to be too few."""
  stream = io.StringIO()
  with MetricsLines(100, 10, stream=stream) as lines:
    clock[0] += 1.0
    lines.reached(50)
    clock[0] += 50.0
    lines.expect(150)
    lines.expect(120)  # an earlier one changes nothing
    lines.update(150, loss=0.5)
  assert 'step 150 of 150' in stream.getvalue()
  assert '-' not in stream.getvalue().splitlines()[-1]
