"""Shows a run in TensorBoard, Trackio or Weights & Biases while it trains.

    with Tracking('wandb', workdir, config) as tracking:
      tracking.begin(step)
      tracking.log(step, loss=loss)
      tracking.finish(step, accuracy=accuracy)

The folder of a run is complete without a tracker, and a tracker changes nothing
in it but what it adds. One that fails is left alone for the rest of the run,
with a note, and training continues.

A tracker is a class with the name of its package. Its instances take a
`Beginning`, log metrics, log the summary and close; TRACKERS lists it, and
setup.py has an extra of the same name.
"""

import contextlib
import importlib
import json
import os
import pathlib
import re
import secrets
import sys
import warnings
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, Protocol

from seqjax.errors import Catalog, Note, needs
from seqjax.experiment import to_dict
from seqjax.results.json_files import read_json, scalar, write_json

PROJECT = 'seqjax'  # that runs belong to where nothing else is said
TRACKED = 'tracked.json'  # in a run's folder: its name in a tracker
LONGEST = 100  # characters of a folder's name in that of a tracked run


class Untracked(Note):
  """A note that a tracker has failed, and that training continues without."""


class Beginning(NamedTuple):
  """The state of a run at the moment a tracker joins it.

  Attributes:
    folder: the run's.
    config: its options, as JSON holds them.
    step: the step at which it begins; greater than 0 for one that resumes.
  """

  folder: pathlib.Path
  config: dict[str, Any]
  step: int


class Tracker(Protocol):
  """The methods of a tracker of one run; `package` is what it imports."""

  package: ClassVar[str]

  def log(self, step: int, metrics: Mapping[str, Any]):
    """Shows numbers and text at a step."""

  def finish(self, step: int, summary: Mapping[str, Any]):
    """Shows the outcome of the run."""

  def close(self, failed: bool):
    """Sends what is left; `failed`: the run was stopped by an exception."""


class TensorBoard:
  """Files for TensorBoard in the run's folder.

  What an earlier process wrote beyond the step at which the run resumes is no
  longer shown.
  """

  package = 'tensorboardX'

  def __init__(self, tensorboardx: ModuleType, run: Beginning):
    self._writer = tensorboardx.SummaryWriter(
      str(run.folder / 'tensorboard'), purge_step=run.step + 1
    )
    lines = json.dumps(run.config, indent=2).splitlines()
    as_code = ''.join(f'    {line}\n' for line in lines)  # it reads Markdown
    self._writer.add_text('config', as_code, run.step)

  def log(self, step: int, metrics: Mapping[str, Any]):
    for name, value in metrics.items():
      if isinstance(value, (int, float)):
        self._writer.add_scalar(name, value, step)

  def finish(self, step: int, summary: Mapping[str, Any]):
    self.log(step, _under_summary(summary))

  def close(self, failed: bool):
    self._writer.close()


class Trackio:
  """A run of Trackio, which keeps it on this machine or in a Space.

  A run that resumes shows the steps since its last checkpoint twice, with the
  same values.
  """

  package = 'trackio'

  def __init__(self, trackio: ModuleType, run: Beginning):
    self._trackio = trackio
    trackio.init(
      project=PROJECT,
      name=identity(run.folder),
      config=run.config,
      resume='allow',
      embed=False,
    )

  def log(self, step: int, metrics: Mapping[str, Any]):
    self._trackio.log(dict(metrics), step=step)

  def finish(self, step: int, summary: Mapping[str, Any]):
    self.log(step, _under_summary(summary))

  def close(self, failed: bool):
    self._trackio.finish()


class Wandb:
  """A run of Weights & Biases, with its files in the run's folder.

  WANDB_PROJECT, WANDB_MODE and its other variables are respected.
  """

  package = 'wandb'

  def __init__(self, wandb: ModuleType, run: Beginning):
    name = identity(run.folder)
    self._run = wandb.init(
      project=os.environ.get('WANDB_PROJECT', PROJECT),
      dir=str(run.folder),
      id=name,
      name=name,
      config=run.config,
      allow_val_change=True,  # of steps, where a run was extended
      resume='allow',
    )
    self._next = self._run.step  # it takes no step twice

  def log(self, step: int, metrics: Mapping[str, Any]):
    if step >= self._next:
      self._run.log(dict(metrics), step=step, commit=True)

  def finish(self, step: int, summary: Mapping[str, Any]):
    self._run.summary.update(dict(summary))

  def close(self, failed: bool):
    self._run.finish(exit_code=int(failed))


TRACKERS = Catalog(
  'tracker',
  {
    'none': None,
    'tensorboard': TensorBoard,
    'trackio': Trackio,
    'wandb': Wandb,
  },
)


class Tracking:
  """A run and its tracker, if it has one; the tracker may fail at any time.

  Args:
    name: of one of TRACKERS.
    workdir: the run's folder.
    config: a dataclass, the options of the run.

  Raises:
    ValueError: no tracker has this name.
    ModuleNotFoundError: its package is not installed; says what installs it.
  """

  def __init__(self, name: str, workdir: str | os.PathLike, config: Any):
    self._name, self._kind = name, TRACKERS[name]
    if self._kind is not None:
      with needs(name):
        self._package = importlib.import_module(self._kind.package)
    self._workdir, self._config = pathlib.Path(workdir), config
    self._tracker: Tracker | None = None

  def __enter__(self) -> 'Tracking':
    return self

  def __exit__(self, kind, error, trace):
    with self._harmlessly('at the end'):
      if self._tracker is not None:
        self._tracker.close(failed=error is not None)
    self._tracker = None

  def begin(self, step: Any):
    """Shows the config; the run begins, or resumes, at `step`."""
    if self._kind is None:
      return
    run = Beginning(self._workdir, to_dict(self._config), int(step))
    with self._harmlessly(f'at step {run.step}'):
      self._tracker = self._kind(self._package, run)

  def log(self, step: Any, **metrics: Any):
    """Shows metrics: numbers, or arrays that hold one; None is left out."""
    with self._harmlessly(f'at step {step}'):
      if self._tracker is not None:
        self._tracker.log(int(step), _plain(metrics))

  def finish(self, step: Any, **summary: Any):
    """Shows the outcome, as `results.finished` returns it."""
    with self._harmlessly(f'at step {step}'):
      if self._tracker is not None:
        self._tracker.finish(int(step), _plain(summary))

  @contextlib.contextmanager
  def _harmlessly(self, when: str) -> Iterator[None]:
    """Turns an exception into a note; messages do not mix with results."""
    try:
      with contextlib.redirect_stdout(sys.stderr):
        yield
    except Exception as error:  # whatever a package or a network may raise
      self._tracker = None
      reason = ' '.join(f'{type(error).__name__}: {error}'.split())
      warnings.warn(
        f'Tracking by {self._name} failed {when} and is off for the rest of '
        f'this run, which continues and is complete in '
        f'{str(self._workdir)!r} ({reason.removesuffix(".")}).',
        Untracked,
        stacklevel=4,
      )


def identity(folder: pathlib.Path) -> str:
  """Returns the name of a run in a tracker, the same whenever it resumes.

  It is that of the folder and a few random digits, for other runs lie in
  folders of the same name on other machines; TRACKED in the folder holds it.
  """
  path = folder / TRACKED
  if path.exists():
    return read_json(path, "run's name in a tracker")['name']
  stem = re.sub(r'[^\w.=,+-]', '_', folder.resolve().name)[:LONGEST]
  name = f'{stem}-{secrets.token_hex(4)}'
  write_json(path, {'name': name})
  return name


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
  """Returns numbers, text and lists of them, without what is None."""
  plain = {
    name: list(value) if isinstance(value, tuple) else scalar(value, name)
    for name, value in values.items()
  }
  return {name: value for name, value in plain.items() if value is not None}


def _under_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the outcome as metrics, for trackers that know nothing else."""
  return {f'summary/{name}': value for name, value in summary.items()}
