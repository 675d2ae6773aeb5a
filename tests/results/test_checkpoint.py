"""What is saved comes back bit by bit, or is refused by name."""

import contextlib
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax.results import checkpoint, disk
from seqjax.results.checkpoint import Checkpoints


class State(NamedTuple):
  step: Any
  params: Any
  opt_state: Any
  key: jax.Array
  carry: Any = None


def make(step=0, features=3, carry=None) -> State:
  """Of several dtypes, an empty array, a key, and what has no leaves."""
  params = {
    'dense': {'kernel': jnp.arange(4.0 * features).reshape(4, features)},
    'low': jnp.full((features,), 0.1, jnp.bfloat16),
    'none': jnp.zeros((0, features)),
  }
  return State(
    jnp.array(step, jnp.int32),
    jax.tree.map(lambda leaf: leaf + jnp.array(step, leaf.dtype), params),
    optax.chain(optax.clip(1.0), optax.adam(1e-3)).init(params),
    jax.random.key(step, impl='rbg'),
    carry,
  )


def bits(state) -> list[bytes]:
  leaves = [
    jax.random.key_data(leaf)
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    else leaf
    for leaf in jax.tree.leaves(state)
  ]
  return [np.asarray(leaf).tobytes() for leaf in leaves]


def save(folder, *steps, scores=None, **kept):
  scores = scores or [None] * len(steps)
  with Checkpoints(folder, **kept) as checkpoints:
    for step, score in zip(steps, scores, strict=True):
      checkpoints.save(step, make(step), {'number': step}, score)
      checkpoints.wait()
    return checkpoints.steps


def restore(folder, like=None):
  with Checkpoints(folder) as checkpoints:
    return checkpoints.restore(like or make())


def test_a_state_comes_back_bit_by_bit(tmp_path):
  """Structure, dtypes, empty leaves, keys of their kind, and the extra."""
  state = make(7, carry=(jnp.ones((2, 5)), jnp.zeros((2,), jnp.int32)))
  extra = {'best': float('-inf'), 'waited': 2, 'name': None}
  with Checkpoints(tmp_path / 'a' / 'b') as checkpoints:
    checkpoints.save(jnp.array(7), state, extra, score=0.5)
  like = make(carry=state.carry)
  restored, found = restore(tmp_path / 'a' / 'b', like)
  assert found == extra and jax.tree.structure(restored) == jax.tree.structure(
    state
  )
  assert bits(restored) == bits(state)
  assert restored.key.dtype == state.key.dtype
  shapes = jax.eval_shape(lambda: state)
  assert bits(restore(tmp_path / 'a' / 'b', shapes)[0]) == bits(state)


def test_the_newest_and_the_best_are_kept(tmp_path):
  """Also those that an earlier process scored; NaN is no score."""
  nan = float('nan')
  assert save(tmp_path, 1, 2, 3, scores=[0.1, 0.9, nan]) == [2, 3]
  steps = save(tmp_path, 4, 5, 6, scores=[0.5, None, 0.2])
  assert steps == [2, 5, 6]
  assert save(tmp_path, 7, 8, scores=[1.0, 0.0], latest=1, best=2) == [2, 7, 8]
  assert restore(tmp_path)[1] == {'number': 8}


def test_nothing_saved_is_nothing_restored(tmp_path):
  """And a reader makes no folder."""
  assert restore(tmp_path / 'none') is None
  assert not list(tmp_path.iterdir())


def damage(path: pathlib.Path, how: str):
  content = path.read_bytes()
  half = len(content) // 2
  if how == 'deleted':
    path.unlink()
  elif how == 'cut':
    path.write_bytes(content[:half])
  else:
    flipped = bytes([content[half] ^ 255])
    path.write_bytes(content[:half] + flipped + content[half + 1 :])


@pytest.fixture(scope='module')
def two(tmp_path_factory):
  folder = tmp_path_factory.mktemp('two')
  save(folder, 1, 2)
  return folder


@pytest.mark.parametrize('how', ['deleted', 'cut', 'flipped'])
def test_damage_is_named_and_the_one_before_is_used(how, two, tmp_path, capfd):
  """Whatever file it struck: what is restored is right, or the one before."""
  files = [path for path in (two / '2').rglob('*') if path.is_file()]
  struck = 0
  for i, path in enumerate(files):
    folder = shutil.copytree(two, tmp_path / str(i))
    damage(folder / path.relative_to(two), how)
    state, extra = restore(folder)
    said = capfd.readouterr().err
    if extra['number'] == 1:
      struck += 1
      assert f"Damaged: '{folder}/2'" in said and said.count('\n') == 1
    else:
      assert not said
    assert bits(state) == bits(make(extra['number']))
  assert struck >= 3  # the description, the bytes, their shape


def test_numbers_that_were_changed_are_damage(two, tmp_path, monkeypatch):
  """Where the files themselves are sound."""
  folder = shutil.copytree(two, tmp_path / 'folder')
  path = folder / '2' / 'metadata' / 'metadata'
  path.write_text(path.read_text().replace('"number": 2', '"number": 3'))
  assert restore(folder)[1] == {'number': 1}
  monkeypatch.setattr(checkpoint, '_checksum', lambda metadata: 1)
  with pytest.raises(ValueError, match='are damaged.*to start again'):
    restore(two)


def test_a_run_goes_over_what_was_damaged(two, tmp_path):
  """Saving the step of a damaged checkpoint again replaces it."""
  folder = shutil.copytree(two, tmp_path / 'folder')
  damage(folder / '2' / 'metadata' / 'metadata', 'cut')
  assert save(folder, 2) == [1, 2]
  assert restore(folder)[1] == {'number': 2}


def test_a_save_that_was_killed_leaves_the_one_before(two, tmp_path):
  """Its leftovers are ignored, and removed by the next save."""
  folder = shutil.copytree(two, tmp_path / 'folder')
  leftover = folder / '3.orbax-checkpoint-tmp'
  (folder / '2').rename(leftover)
  assert restore(folder)[1] == {'number': 1} and leftover.exists()
  assert save(folder, 3) == [1, 3] and not leftover.exists()


def test_another_model_is_refused_by_the_leaf_that_differs(two):
  """Shapes, dtypes and optimizers; nothing is taken for damage."""
  with pytest.raises(ValueError) as error:
    restore(two, make(features=4))
  assert f"'{two}/2' is of another model" in str(error.value)
  assert 'params/dense/kernel it has float32[4, 3]' in str(error.value)
  sgd = make()._replace(opt_state=optax.sgd(0.1).init(make().params))
  with pytest.raises(ValueError, match=r'opt_state/.*but nothing is needed'):
    restore(two, sgd)
  with pytest.raises(ValueError, match=r'key<rbg>.*key<fry>\[\] is needed'):
    restore(two, make()._replace(key=jax.random.key(0)))


def test_another_format_is_refused(two, tmp_path):
  """And left for the version that reads it."""
  folder = shutil.copytree(two, tmp_path / 'folder')
  path = folder / '2' / 'metadata' / 'metadata'
  about = json.loads(path.read_text())
  path.write_text(json.dumps({**about, 'format': 99}))
  with pytest.raises(ValueError, match='another format than 2, which'):
    restore(folder)


def test_packed_checkpoints_of_earlier_versions_are_refused(tmp_path):
  """By the item that they had, and not as damage."""
  (tmp_path / '3' / 'about').mkdir(parents=True)
  (tmp_path / '3' / 'bytes').mkdir()
  with pytest.raises(ValueError, match='another format than 2, which'):
    restore(tmp_path)


def test_one_that_is_refused_gives_way_to_the_one_before(two, capfd):
  """By what goes with it; where all are refused, the newest is used."""
  with Checkpoints(two) as checkpoints:
    for refused, used in ([2], 1), ([1, 2], 2), ([1], 2):
      why = lambda extra: 'late' if extra['number'] in refused else None  # noqa: B023, E731
      assert checkpoints.restore(make(), why)[1] == {'number': used}
      said = capfd.readouterr().err
      assert (f"'{two}/2' (late)" in said) == (2 in refused)


def test_a_best_one_whose_description_is_damaged_is_kept_and_named(tmp_path):
  """Which one is the best is not known then: a person decides."""
  save(tmp_path, 1, 2, scores=[0.9, 0.1], latest=1)
  damage(tmp_path / '1' / 'metadata' / 'metadata', 'cut')
  with Checkpoints(tmp_path, latest=1) as checkpoints:
    assert checkpoints.damaged == [1]
    for step in (3, 4):
      checkpoints.save(step, make(step), {}, score=0.2)
      checkpoints.wait()
    assert 1 in checkpoints.steps and 4 in checkpoints.steps


def test_checkpoints_are_entered_again(tmp_path):
  """One after the other, as a notebook does whose cell is run again."""
  checkpoints = Checkpoints(tmp_path / 'checkpoints')
  for step in (1, 2):
    with checkpoints:
      checkpoints.save(step, make(step), {}, score=float(step))
  with checkpoints:
    assert checkpoints.steps == [1, 2] and checkpoints.best == 2


def test_who_entered_before_another_wrote_sees_nothing(tmp_path):
  """Neither steps without their scores, nor a damage that nobody looked for."""
  with Checkpoints(tmp_path / 'c') as reader:
    with Checkpoints(tmp_path / 'c') as writer:
      writer.save(1, make(1), {}, score=1.0)
    assert (reader.steps, reader.scores, reader.best) == ([], {}, None)


def test_a_folder_that_vanishes_is_no_fresh_start(two, tmp_path):
  """Restoring raises an error, where there were checkpoints before."""
  folder = shutil.copytree(two, tmp_path / 'two')
  with Checkpoints(folder) as checkpoints:
    shutil.rmtree(folder)
    with pytest.raises(ValueError, match='damaged'):
      checkpoints.restore(make())


def test_a_new_run_waits_for_no_import_of_orbax(tmp_path):
  """The import takes seconds of what SIGTERM leaves; the first save does it."""
  code = (
    'import sys\n'
    'from seqjax.results.checkpoint import Checkpoints\n'
    f'with Checkpoints({str(tmp_path / "new")!r}) as checkpoints:\n'
    '  assert checkpoints.restore({}) is None\n'
    '  checkpoints.wait()\n'
    "assert 'orbax.checkpoint' not in sys.modules\n"
  )
  subprocess.run([sys.executable, '-c', code], check=True)


def test_a_file_in_place_of_the_folder_is_told_at_once(tmp_path):
  """Before anything is trained."""
  (tmp_path / 'file').write_text('')
  with pytest.raises(ValueError, match='kept in a folder, but .* is a file'):
    save(tmp_path / 'file', 1)


ORBAX_ALONE = """
import sys
import orbax.checkpoint as ocp
with ocp.CheckpointManager(sys.argv[1]) as manager:
  state = manager.restore(manager.latest_step())['state']
assert not [name for name in sys.modules if name.startswith('seqjax')]
assert state['params']['dense']['kernel'].tolist()[1] == [5.0, 6.0, 7.0]
assert str(state['params']['low'].dtype) == 'bfloat16'
assert state['step'] == 2
"""


def test_orbax_alone_restores_parameters_by_name(two):
  """In ten lines that know nothing of seqjax."""
  subprocess.run([sys.executable, '-c', ORBAX_ALONE, str(two)], check=True)


FULL = """
import resource, sys
import numpy as np
from seqjax.results import checkpoint, disk
disk.check_space = lambda folder, num_bytes: None
state = {str(i): np.random.default_rng(i).random(1000) for i in range(99)}
with checkpoint.Checkpoints(sys.argv[1]) as checkpoints:
  checkpoints.save(1, state, {})
  checkpoints.wait()
  hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
  resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
  try:
    checkpoints.save(2, state, {})
    checkpoints.wait()
  except OSError as error:
    print(error)
"""


def test_a_disk_that_fills_up_meanwhile_is_one_sentence(tmp_path):
  """However many threads meet it, and nothing from any of them."""
  child = subprocess.run(
    [sys.executable, '-c', FULL, str(tmp_path)],
    check=True, capture_output=True, text=True,
  )  # fmt: skip
  assert child.stderr == ''
  assert (
    child.stdout.count('\n') == 1 and 'could not be written' in child.stdout
  )


def test_nothing_is_written_without_room_for_all_of_it(tmp_path, monkeypatch):
  """Nor begun: the bytes are counted first."""
  asked = []

  def check_space(folder, num_bytes):
    asked.append(num_bytes)
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(disk, 'check_space', check_space)
  with pytest.raises(OSError, match='written to .*No space left on device'):
    save(tmp_path, 1)
  assert not list(tmp_path.iterdir())
  arrays = [x for x in bits(make())]
  assert sum(map(len, arrays)) < asked[0] < sum(map(len, arrays)) + 10**6


def test_what_a_checkpoint_builds_on_is_on_disk_before_it(tmp_path):
  """And all of it before it has a name."""
  done = []
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(disk, 'sync_tree', lambda path: done.append(path.name))
    metrics = lambda: done.append('metrics')  # noqa: E731
    with Checkpoints(tmp_path, before_save=metrics) as checkpoints:
      checkpoints.save(1, make(1), {})
      checkpoints.wait()
  assert done == ['metrics', '1.orbax-checkpoint-tmp']


@contextlib.contextmanager
def full_disk():
  """No file grows beyond a few bytes."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_what_was_saved_stays(two, tmp_path):
  """By the save itself, the next one, `wait`, or at the end."""
  folder = shutil.copytree(two, tmp_path / 'folder')
  for wait in (True, False):
    with pytest.raises(OSError, match='could not be written.*stay usable'):
      with full_disk(), Checkpoints(folder) as checkpoints:
        checkpoints.save(3, make(3), {})
        if wait:
          checkpoints.wait()
        else:
          checkpoints.save(4, make(4), {})
    assert restore(folder)[1] == {'number': 2}
  assert save(folder, 3) == [2, 3]


def test_a_failed_save_does_not_hide_another_failure(tmp_path, monkeypatch):
  """What was raised first is what is seen."""
  monkeypatch.setattr(disk, 'check_space', lambda folder, num_bytes: None)
  with pytest.raises(KeyError):
    with full_disk(), Checkpoints(tmp_path) as checkpoints:
      checkpoints.save(3, make(3), {})
      raise KeyError


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
  """Its parent is a file, say."""
  (tmp_path / 'file').write_text('')
  with pytest.raises(OSError, match="to '.*/file/a'"):
    save(tmp_path / 'file' / 'a', 1)


def test_counts_are_checked(tmp_path):
  """One sentence."""
  with pytest.raises(ValueError, match='latest=0 and best=1'):
    Checkpoints(tmp_path, latest=0)


EIGHT = """
import sys, jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from seqjax.results.checkpoint import Checkpoints
mesh = jax.make_mesh((8,), ('batch',), axis_types=(AxisType.Auto,))
def on_mesh(leaf, *axes):
  sharding = NamedSharding(mesh, P(*axes))
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
like = {'carry': on_mesh(jax.numpy.zeros((16, 2)), 'batch'),
        'key': on_mesh(jax.random.key(0)),
        'params': on_mesh(jax.numpy.zeros((3,)))}
with Checkpoints(sys.argv[1]) as checkpoints:
  state, extra = checkpoints.restore(like)
  assert len(state['carry'].addressable_shards) == 8
  assert state['carry'].addressable_shards[0].data.shape == (2, 2)
  assert state['params'].is_fully_replicated
  assert state['key'].sharding.device_set == set(jax.devices())
  checkpoints.save(2, state, extra)
"""


def test_a_state_moves_between_numbers_of_devices(tmp_path):
  """From one to eight, split and copied as told, and back."""
  state = {
    'carry': jnp.arange(32.0).reshape(16, 2),
    'key': jax.random.key(5),
    'params': jnp.arange(3.0) / 7,
  }
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state, {})
  flag = '--xla_force_host_platform_device_count=8'
  subprocess.run(
    [sys.executable, '-c', EIGHT, str(tmp_path)],
    env={**os.environ, 'XLA_FLAGS': flag}, check=True, timeout=120,
  )  # fmt: skip
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.steps == [1, 2]
    restored, _ = checkpoints.restore(state)
  assert bits(restored) == bits(state)
  assert restored['carry'].devices() == state['carry'].devices()
