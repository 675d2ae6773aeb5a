"""What scripts/train.py has left in a folder: config, task, model, parameters.

For the scripts that go on from there; not run by itself.
"""

import contextlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import flax.linen as nn  # noqa: E402
import jax  # noqa: E402
import train  # noqa: E402

from seqjax import experiment  # noqa: E402
from seqjax.results.checkpoint import Checkpoints  # noqa: E402


class Trained(NamedTuple):
  """A run's newest checkpoint, and what it was trained as."""

  config: train.Config
  task: Any
  model: nn.Module
  params: Any
  step: int


def load(workdir: str) -> Trained:
  """Reads the newest sound checkpoint of a run, finished or not.

  Raises:
    ValueError: there is no run, no checkpoint, or one of another version.
  """
  config = read_config(workdir)
  task, model = train.make(config)
  with Checkpoints(pathlib.Path(workdir) / train.CHECKPOINTS) as checkpoints:
    like = train.initial_state(config, task, model)
    restored = checkpoints.restore(like)
  if restored is None:
    raise ValueError(
      f'The run in {str(workdir)!r} has no checkpoint; start it again with the '
      'same command, and it saves one.'
    )
  state, _ = restored
  return Trained(config, task, model, state.params, int(state.step))


def read_config(workdir: str) -> train.Config:
  """What the run was asked to do.

  Raises:
    ValueError: there is no run of scripts/train.py, or one of another version.
  """
  path = pathlib.Path(workdir) / 'config.json'
  if not path.is_file():
    raise ValueError(
      f'There is no run in {str(workdir)!r}, for it holds no config.json; '
      '--workdir is the folder that scripts/train.py wrote to.'
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


@contextlib.contextmanager
def sentences() -> Iterator[None]:
  """What is wrong with the input is one sentence on stderr, exit code 2."""
  try:
    yield
  except (ValueError, OSError) as error:
    print(error, file=sys.stderr)
    sys.exit(2)
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    print(
      'The device has not enough memory for so much at once: ask for smaller '
      'batches or shorter sequences.',
      file=sys.stderr,
    )
    sys.exit(1)


def launch(Config: type, run: Callable, workdir: str):
  """`experiment.launch`, with sentences for what `run` raises, too."""

  def guarded(config, workdir):
    with sentences():
      run(config, workdir)

  experiment.launch(Config, guarded, workdir)
