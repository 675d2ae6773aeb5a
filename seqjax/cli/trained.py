"""What seqjax-train has left in a folder: config, task, model, parameters.

For the scripts that go on from there; not run by itself.
"""

import contextlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.linen as nn

from seqjax import experiment
from seqjax.cli import train
from seqjax.launch import memory_limits
from seqjax.results.checkpoint import Checkpoints


class Trained(NamedTuple):
  """One of a run's checkpoints, and what it was trained as."""

  config: train.Config
  task: Any
  model: nn.Module
  params: Any
  step: int


def load(workdir: str, which: str | int = 'newest') -> Trained:
  """Reads a checkpoint of a run, finished or not.

  `which` is 'newest', the newest sound one; 'best', the one with the best
  validation score of those that are kept; or the step of one.

  Raises:
    ValueError: there is no run, no such checkpoint, one that is damaged or of
      another version; or the task's data are others now.
  """
  config = read_config(workdir)
  task, model = train.make(config)
  with Checkpoints(pathlib.Path(workdir) / train.CHECKPOINTS) as checkpoints:
    if not checkpoints.steps:
      raise ValueError(
        f'The run in {str(workdir)!r} has no checkpoint; start it again with '
        'the same command, and it saves one.'
      )
    train.check_data(task, checkpoints.extra, workdir)
    like = train.initial_state(config, task, model)
    if which == 'newest':
      state, _ = checkpoints.restore(like)
    else:
      step = _step_of(checkpoints, str(which), workdir)
      state, _ = checkpoints.restore_step(step, like)
  return Trained(config, task, model, state.params, int(state.step))


def _step_of(checkpoints, which: str, workdir: str) -> int:
  """Of the checkpoint called 'best', or by its step."""
  best = checkpoints.best
  steps = {} if best is None else {'best': best}
  steps |= {str(step): step for step in checkpoints.steps}
  if which not in steps:
    raise ValueError(
      f'The run in {str(workdir)!r} has no checkpoint {which!r}; there are:'
      f' newest, {", ".join(steps)}.'
    )
  return steps[which]


def read_config(workdir: str) -> train.Config:
  """What the run was asked to do.

  Raises:
    ValueError: there is no run of seqjax-train, or one of another version.
  """
  path = pathlib.Path(workdir) / 'config.json'
  if not path.is_file():
    raise ValueError(
      f'There is no run in {str(workdir)!r}, for it holds no config.json; '
      '--workdir is the folder that seqjax-train wrote to.'
    )
  try:
    content = json.loads(path.read_text())
    config = experiment.from_dict(train.Config, content['config'])
    experiment.validate(config)
  except json.JSONDecodeError as error:
    raise ValueError(f'{str(path)!r} is not JSON: {error}.') from error
  except (KeyError, TypeError) as error:
    raise ValueError(f'{str(path)!r} is no config of a run.') from error
  except ValueError as error:
    raise ValueError(f'{str(path)!r} is of another script: {error}') from error
  return config


def ask_for_less() -> str:
  """What to say of memory where nothing better is known."""
  return (
    'The device has not enough memory for so much at once: ask for smaller '
    'batches or shorter sequences.'
  )


@contextlib.contextmanager
def sentences(too_large: Callable[[], str] = ask_for_less) -> Iterator[None]:
  """What is wrong with the input is one sentence on stderr, exit code 2.

  What does not fit into the device's memory is that of `too_large`, and 1.
  """
  try:
    with memory_limits.named(too_large):
      yield
  except (ValueError, OSError) as error:
    print(error, file=sys.stderr)
    sys.exit(2)
  except MemoryError as error:
    print(error, file=sys.stderr)
    sys.exit(1)


def launch(Config: type, run: Callable, workdir: str, too_large: Callable):
  """`experiment.launch`, with sentences for what `run` raises, too.

  `too_large(config, workdir)` says what would fit where that did not.
  """

  def guarded(config, workdir):
    with sentences(lambda: too_large(config, workdir)):
      run(config, workdir)

  experiment.launch(Config, guarded, workdir)
