"""Meshes as they are written, and what they refuse before anything compiles."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from seqjax import training
from seqjax.models import SequenceModel, model_for
from seqjax.nn import GRU, Bidirectional
from seqjax.tasks import TASKS, Recall
from seqjax.training import meshes, recipe

TASK = Recall(num_facts=4, num_distractors=3, lag=15)


def test_a_mesh_is_read_from_text():
  """And takes the devices that are left where it says so."""
  mesh = meshes.parse('rows:1,time:1')
  assert dict(mesh.shape) == {'rows': 1, 'time': 1}
  assert dict(meshes.parse('rows:-1').shape) == {'rows': jax.device_count()}
  assert meshes.size(mesh, 'members') == meshes.size(None, 'rows') == 1


@pytest.mark.parametrize(
  'text, message',
  [
    ('rows', "as in rows:2,time:4, but 'rows' was given"),
    ('rows:two', 'as in rows:2,time:4'),
    ('rows:0', 'as in rows:2,time:4'),
    ('rows:2,time:00', 'as in rows:2,time:4'),
    ('rows:2,rows:2', 'each once'),
    ('rows:-1,time:-1', 'so of rows and time'),
    ('row:2', "a mesh 'row'. Did you mean 'rows'. There are: rows, time"),
    ('members:2', "'members'.* There are: rows, time"),
    ('rows:3,time:2', 'needs 6 devices, but there are 4'),
    ('rows:-1,time:5', 'needs 5 devices, but there are 4'),
  ],
)
def test_a_mesh_that_cannot_be_is_refused(text, message, monkeypatch):
  """In a sentence, with what there is."""
  monkeypatch.setattr(jax, 'device_count', lambda: 4)
  with pytest.raises(ValueError, match=message):
    meshes.parse(text)


@pytest.mark.parametrize(
  'axes, batch_size, message',
  [
    (
      {'rows': 8},
      20,
      '8 rows in a batch.*there are 20: 24 would do, or rows:5',
    ),
    (
      {'time': 5},
      1,
      '5 positions in a row.*there are 16: 20 would do, or time:4',
    ),
    ({'data': 2}, 4, "axis of a mesh 'data'. There are: rows, time"),
    ({'members': 2}, 4, "axis of a mesh 'members'. There are: rows, time"),
  ],
)
def test_a_mesh_that_does_not_fit_a_batch_is_refused(axes, batch_size, message):
  """When `train` is called."""
  model = model_for(TASK, (GRU(4),))
  with pytest.raises(ValueError, match=message):
    _train(model, TASK, axes, batch_size)


@pytest.mark.parametrize(
  'name, message',
  [
    ('parity', 'A Classifier reads whole sequences, so that its rows cannot'),
    (
      'transduction_reverse',
      'A Seq2Seq reads whole sequences, so that its rows cannot',
    ),
  ],
)
def test_positions_are_not_cut_for_models_of_whole_sequences(name, message):
  """They pool over time, or read a source."""
  task = TASKS[name]()
  with pytest.raises(ValueError, match=message):
    _train(model_for(task, (GRU(4),)), task, {'time': 2}, 2)


def test_positions_are_not_cut_for_layers_that_see_all_of_them():
  """As they say, before anything is compiled."""
  mixers = (Bidirectional(4, mixer=GRU(4)),)
  model = SequenceModel(TASK.input, TASK.output, mixers)
  with pytest.raises(
    ValueError, match="mesh axis 'time' cuts them into 2 parts"
  ):
    _train(model, TASK, {'time': 2}, 2)


@dataclasses.dataclass(frozen=True)
class LongerToScore:
  """Rows of 16 positions to train on, and of 17 to score."""

  on_device = True

  def batch(self, key, step, batch_size, split='train'):
    lag = TASK.lag + (split != 'train')
    task = dataclasses.replace(TASK, lag=lag)
    return task.batch(key, step, batch_size, split)


def test_a_mesh_divides_the_rows_that_are_scored():
  """Which may be longer than those of training."""
  model, task = model_for(TASK, (GRU(4),)), LongerToScore()
  mesh = Mesh(np.full((2,), jax.devices()[0]), ('time',))
  recipe.check_mesh(mesh, model, task, 2)
  with pytest.raises(ValueError, match='there are 17: 18 would do, or time:1'):
    training.evaluate(model, {}, task, batches=1, batch_size=2, mesh=mesh)


def test_states_are_shared_by_several_devices():
  """Along rows, that is."""
  model = model_for(TASK, (GRU(4),))
  for axes in ({'rows': 1}, {'time': 2}):
    with pytest.raises(ValueError, match='along rows .* give a mesh such as'):
      _train(model, TASK, axes, 2, shard_states=True)


def _train(model, task, axes, batch_size, **options):
  return training.train(
    model,
    task,
    training.adamw(2),
    jax.random.key(0),
    steps=2,
    batch_size=batch_size,
    mesh=Mesh(np.full(tuple(axes.values()), jax.devices()[0]), tuple(axes)),
    **options,
  )
