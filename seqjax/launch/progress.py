"""How far a run is, on one line of the terminal."""

import sys
import time
from typing import Any

from seqjax.results.run import scalar

MARKS = ((1e9, 'G'), (1e6, 'M'), (1e3, 'k'))


class Progress:
  """A line that is written over: step, loss, tokens a second, time left.

      step 1,200 of 5,000   loss 0.0312   52.1k tokens/s   1:05 left

      with Progress(total_steps, tokens) as progress:
        progress.update(step, loss)

  Nothing is written where the stream is no terminal: lines belong into files,
  and `Run.log` writes those.

  Attributes:
    total_steps: where the run ends.
    tokens: how many positions a step reads.
    step: where it begins; greater than 0 for one that goes on.
    stream: standard error, if None.
  """

  def __init__(
    self,
    total_steps: int,
    tokens: int,
    step: int = 0,
    stream: Any = None,
  ):
    self.total_steps, self.tokens, self._step = total_steps, tokens, step
    self._stream = sys.stderr if stream is None else stream
    self._shown = self._stream.isatty()
    self._then = time.perf_counter()
    self._width = 0

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *error):
    if self._width:
      self._stream.write('\n')

  def update(self, step: Any, loss: Any):
    """Shows where the run is: numbers, or arrays that hold one."""
    if not self._shown:
      return
    step, loss = int(step), float(scalar(loss, 'loss'))
    now = time.perf_counter()
    speed = (step - self._step) / max(now - self._then, 1e-9)
    left = (self.total_steps - step) / speed if speed else 0.0
    line = (
      f'step {step:,} of {self.total_steps:,}   loss {loss:.4g}   '
      f'{_short(self.tokens * speed)} tokens/s   {_clock(left)} left'
    )
    self._stream.write('\r' + line.ljust(self._width))
    self._stream.flush()
    self._then, self._step, self._width = now, step, len(line)


def _short(number: float) -> str:
  """'52.1k' for 52,100."""
  for size, mark in MARKS:
    if number >= size:
      return f'{number / size:.3g}{mark}'
  return f'{number:.3g}'


def _clock(seconds: float) -> str:
  """'1:05' for 65 seconds, '2:00:00' for two hours."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours}:{minutes:02}:{seconds:02}'
  return f'{minutes}:{seconds:02}'
