"""Loads a run of seqjax-train: config, task, model, parameters.

A module for programs that use a trained model; not a program itself.
"""

import json
import pathlib
from typing import Any, NamedTuple

import flax.linen as nn

from seqjax import experiment
from seqjax.cli import build
from seqjax.cli.train_config import CHECKPOINTS, Config
from seqjax.results.checkpoint import Checkpoints


class Trained(NamedTuple):
  """A run's config, task and model, with the parameters of a checkpoint."""

  config: Config
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
  task, model = build.make(config)
  with Checkpoints(pathlib.Path(workdir) / CHECKPOINTS) as checkpoints:
    if not checkpoints.steps:
      raise ValueError(
        f'The run in {str(workdir)!r} has no checkpoint; start it again with '
        'the same command, and it saves one.'
      )
    build.check_data(task, checkpoints.extra, workdir)
    like = build.state_shapes(config, task, model)
    if which == 'newest':
      state, _ = checkpoints.restore(like)
    else:
      step = _step_of(checkpoints, str(which), workdir)
      state, _ = checkpoints.restore_step(step, like)
  return Trained(config, task, model, state.params, int(state.step))


def _step_of(checkpoints, which: str, workdir: str) -> int:
  """Returns the step of the checkpoint called 'best', or of that number."""
  best = checkpoints.best
  steps = {} if best is None else {'best': best}
  steps |= {str(step): step for step in checkpoints.steps}
  if which not in steps:
    raise ValueError(
      f'The run in {str(workdir)!r} has no checkpoint {which!r}; there are:'
      f' newest, {", ".join(steps)}.'
    )
  return steps[which]


def read_config(workdir: str) -> Config:
  """Returns the config of a run.

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
    config = experiment.from_dict(Config, content['config'])
    experiment.validate(config)
  except json.JSONDecodeError as error:
    raise ValueError(f'{str(path)!r} is not JSON: {error}.') from error
  except ValueError as error:
    raise ValueError(f'{str(path)!r} is of another program: {error}') from error
  except (KeyError, TypeError) as error:
    raise ValueError(f'{str(path)!r} is no config of a run.') from error
  return config
