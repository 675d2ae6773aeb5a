"""Reports on a run while it trains: metrics, time left, a trace.

    with Monitor(workdir, total_steps, tokens) as monitor:
      for state, metrics in training.train(..., pause=pace):
        monitor.reached(state.step)
        if metrics:
          monitor.update(state.step, **metrics)

`Run.log` keeps the metrics; what is shown here is for whoever watches, and
`launch.trackers` shows it in other programs.
"""

import contextlib
import math
import os
import pathlib
import shutil
import sys
import time
from typing import Any

import jax
import tqdm

from seqjax.results.json_files import scalar

LINE_SECONDS = 10.0  # at least, between two lines where there is no terminal
SHOWN = ('loss', 'validation')  # metrics that a line holds
PROFILE = 'profile'  # folder of a trace, in a run's


class Monitor(contextlib.ExitStack):
  """A run's metrics lines, and a trace if requested.

  Args:
    workdir: the run's folder, for files.
    total_steps: the step at which the run ends.
    tokens: the number of positions that a step reads.
    step: the step at which it begins; greater than 0 for one that resumes.
    profile: trace a few intervals, too.
    stream: where lines are written; None: to standard error.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    total_steps: int,
    tokens: int,
    step: int = 0,
    *,
    profile: bool = False,
    stream: Any = None,
  ):
    super().__init__()
    self._profile = None
    if profile:
      self._profile = self.enter_context(Profile(workdir))
    self._lines = self.enter_context(
      MetricsLines(total_steps, tokens, step, stream)
    )

  def reached(self, step: Any):
    """Notes that training has come to `step`, where it pauses or not."""
    self._lines.reached(step)

  def expect(self, total_steps: int):
    """Notes that the run goes on to a later step than was said."""
    self._lines.expect(total_steps)

  def update(self, step: Any, **metrics: Any):
    """Shows the metrics of the interval that has ended at `step`."""
    self._lines.update(step, **metrics)
    if self._profile is not None:
      self._profile.update()


class MetricsLines:
  """A line for each interval: step, metrics, tokens per second, time left.

      step 1,200 of 5,000: loss 0.0312, 52.1k tokens/s, 01:05 left

  On a terminal each line is written over the one before, beside a bar;
  elsewhere lines are printed, one every LINE_SECONDS at most, and the last one.
  The time left is estimated from the latest interval. What comes before the
  first call of `reached`, compilation, is no part of any estimate.

  Args:
    total_steps: the step at which the run ends.
    tokens: the number of positions that a step reads.
    step: the step at which it begins.
    stream: where lines are written; None: to standard error.
  """

  def __init__(
    self, total_steps: int, tokens: int, step: int = 0, stream: Any = None
  ):
    self.total_steps, self.tokens = total_steps, tokens
    self._stream = sys.stderr if stream is None else stream
    self._bar = None
    if self._stream.isatty():
      columns, rows = shutil.get_terminal_size()
      self._bar = tqdm.tqdm(
        total=total_steps,
        initial=step,
        file=self._stream,
        ncols=columns,
        nrows=rows,
        bar_format='{desc} |{bar}|',
      )
    self._printed, self._held = -math.inf, ''
    self._began = time.perf_counter()
    self._since = None  # (step, time) at which the current interval began
    self._trained = None  # when training of the first interval was done
    self._show('compiling the training step ...', step)

  def __enter__(self) -> 'MetricsLines':
    return self

  def expect(self, total_steps: int):
    """Notes that the run goes on to a later step than was said."""
    self.total_steps = max(self.total_steps, total_steps)
    if self._bar is not None:
      self._bar.total = self.total_steps

  def __exit__(self, *error):
    if self._bar is not None:
      self._bar.close()
    elif self._held:
      self._print(self._held)

  def reached(self, step: Any):
    """Notes the time at which training has come to `step`."""
    now = time.perf_counter()
    if self._since is None:
      self._since = self._trained = int(step), now
      took = f'compiled in {now - self._began:.1f} s'
      self._show(f'step {int(step):,} of {self.total_steps:,}: {took}', step)
      self._printed = -math.inf  # metrics are shown as soon as there are some
    elif self._trained is not None:
      self._trained = int(step), now

  def update(self, step: Any, **metrics: Any):
    """Shows metrics, numbers or arrays that hold one; `reached` came before."""
    step = int(step)
    values = [
      f'{name} {float(scalar(metrics[name], name)):.4g}'
      for name in SHOWN
      if name in metrics
    ]
    text = ', '.join([*values, *self._pace(step)])
    self._show(f'step {step:,} of {self.total_steps:,}: {text}', step)

  def _pace(self, step: int) -> list[str]:
    """Returns speed and time left, once an interval has been timed.

    The first interval is timed without its evaluation, which compiles; later
    ones include theirs.
    """
    now = time.perf_counter()
    since, began = self._since
    _, ended = self._trained or (step, now)
    self._since, self._trained = (step, now), None
    if step <= since or ended <= began:
      return []
    speed = (step - since) / (ended - began)
    tokens = tqdm.tqdm.format_sizeof(self.tokens * speed)
    left = tqdm.tqdm.format_interval((self.total_steps - step) / speed)
    return [f'{tokens} tokens/s', f'{left} left']

  def _show(self, line: str, step: Any):
    if self._bar is not None:
      self._bar.n = int(step)
      self._bar.set_description_str(line)
      return
    self._held = line
    due = time.perf_counter() - self._printed >= LINE_SECONDS
    if due or step == self.total_steps:
      self._print(line)

  def _print(self, line: str):
    print(line, file=self._stream, flush=True)
    self._printed, self._held = time.perf_counter(), ''


class Profile:
  """A trace of a few intervals by jax.profiler, in `workdir`/profile.

      with Profile(workdir) as profile:
        for state, metrics in training.train(...):
          profile.update()

  TensorBoard's profile plugin and Perfetto show it. The first interval is left
  out, for it compiles.
  """

  def __init__(self, workdir: str | os.PathLike, intervals: int = 3):
    self.folder = pathlib.Path(workdir) / PROFILE
    self._intervals, self._ended, self._tracing = intervals, 0, False

  def __enter__(self) -> 'Profile':
    return self

  def __exit__(self, *error):
    self._stop()

  def update(self):
    """Counts an interval that has ended."""
    self._ended += 1
    if self._ended == 1:
      jax.profiler.start_trace(self.folder)
      self._tracing = True
    elif self._ended > self._intervals:
      self._stop()

  def _stop(self):
    if self._tracing:
      jax.profiler.stop_trace()
      self._tracing = False
