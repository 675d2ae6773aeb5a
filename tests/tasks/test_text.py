"""Text: windows, what is predicted, where parts and documents end."""

import os
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import testing
from seqjax.data.lm1b import count_bytes
from seqjax.tasks import epochs
from seqjax.tasks.sentences import Sentences
from seqjax.tasks.text import Text

KEY = jax.random.key(0)
TRAVELLER = 'the time machine by h. g. wells. ' * 40


@pytest.fixture
def wells(tmp_path):
  """A file of one document."""
  path = tmp_path / 'wells.txt'
  path.write_text(TRAVELLER, encoding='utf-8')
  return str(path)


@pytest.fixture
def folder(tmp_path):
  """Three documents of letters and one beside them that is hidden."""
  for name, text in {'b': 'b' * 500, 'a': 'a' * 500, 'c': 'c' * 400}.items():
    (tmp_path / f'{name}.txt').write_text(text, encoding='utf-8')
  (tmp_path / '.hidden').write_text('zzz', encoding='utf-8')
  return str(tmp_path)


def test_each_target_is_the_input_one_position_later(wells):
  """In "the t" the last t predicts i; "he ti" predicts m."""
  task = Text(wells, length=5)
  batch = task.batch(KEY, 0, 512)
  follows = {
    task.decode(inputs): task.decode(targets)
    for inputs, targets in zip(batch.inputs, batch.targets, strict=True)
  }
  for inputs, targets in follows.items():
    assert inputs + targets[-1] in TRAVELLER and inputs[1:] == targets[:-1]
  assert follows['the t'] == 'he ti' and follows['he ti'] == 'e tim'
  np.testing.assert_array_equal(batch.weights, 1)
  np.testing.assert_array_equal(batch.group, [range(5)] * 512)
  assert batch.segments is None
  np.testing.assert_array_equal(task.encode('the t'), task.encode('the ti')[:5])


def test_an_embedding_is_a_one_hot_times_a_matrix(wells):
  """(batch, num_steps, features) = (32, 4, 256), either way."""
  batch = Text(wells, level='byte', length=4).batch(KEY, 0, 32)
  one_hot = jax.nn.one_hot(batch.inputs, 256)
  assert one_hot.shape == (32, 4, 256)
  embed = nn.Embed(256, 256)
  variables = embed.init(KEY, batch.inputs)
  embedded = embed.apply(variables, batch.inputs)
  assert embedded.shape == (32, 4, 256)
  table = variables['params']['embedding']
  np.testing.assert_allclose(
    jnp.matmul(one_hot, table, precision='highest'), embedded, rtol=1e-6
  )


def test_an_epoch_of_random_windows_reads_no_character_twice(wells):
  """Windows tile the part from an offset that differs between epochs."""
  task = Text(wells, length=7)
  size = len(task._part('train').tokens)
  count = (size - 7) // 7
  offsets = set()
  for epoch in range(3):
    begin = np.sort(task._random(KEY, epoch, count, 'train'))
    offsets.add(int(begin[0]))
    np.testing.assert_array_equal(np.diff(begin), 7)
    assert begin[-1] + 7 < size and begin[0] < 2 * 7
  assert len(offsets) > 1
  assert not np.array_equal(
    task._random(KEY, 0, count, 'train'), np.sort(begin)
  )


def test_no_element_is_out_of_reach_of_random_windows():
  """Over epochs: 62 of 190 lie behind one window of 65 at the largest phase."""
  for size, span in [(190, 64), (129, 64), (65, 64), (20, 7)]:
    begins = epochs.windows(KEY, 0, 900, 'train', size, span)
    assert begins.min() == 0 and begins.max() + span == size - 1
    read = begins[:, None] + np.arange(span + 1)[None]
    assert set(read.ravel().tolist()) == set(range(size))


def test_the_order_of_an_epoch_is_the_same_for_ever():
  """As it was drawn when it was first written down."""
  assert epochs.seed(KEY, 'test', 5) == (2888951869, 3045903664)
  np.testing.assert_array_equal(
    epochs.examples(KEY, 1, 6, 'train', 10), [0, 9, 8, 4, 5, 1]
  )
  np.testing.assert_array_equal(
    epochs.windows(KEY, 0, 4, 'train', 100, 9), [62, 53, 26, 71]
  )


def test_sequential_rows_read_on_where_they_stood(wells):
  """Batch b + 1 row i continues batch b row i, until the epoch wraps."""
  task = Text(wells, sampling='sequential', length=8)
  batches = task.batches_per_epoch(4)
  drawn = [task.batch(KEY, step, 4) for step in range(2 * batches)]
  for epoch in range(2):
    of_epoch = drawn[epoch * batches : (epoch + 1) * batches]
    for now, later in zip(of_epoch, of_epoch[1:], strict=False):
      np.testing.assert_array_equal(now.targets[:, -1], later.inputs[:, 0])
    read = np.concatenate([batch.inputs for batch in of_epoch], axis=1)
    text = task.decode(task._part('train').tokens)
    rows = [task.decode(row) for row in read]
    assert all(row in text for row in rows)
    assert sum(map(len, rows)) > len(text) - 8 - 4 * 8
  for step, batch in enumerate(drawn):
    starts = batch.segments.start
    assert starts[:, 0].all() == (step % batches == 0)
    assert not starts[:, 1:].any()


def test_documents_are_marked_and_not_predicted_from_one_another(folder):
  """A start where another file begins, and weight 0 on its first character."""
  task = Text(folder, length=50, sampling='sequential')
  met = []
  for step in range(1, task.batches_per_epoch(2)):
    batch = task.batch(KEY, step, 2)
    for row, at in np.argwhere(batch.segments.start):
      met.append(task.decode(batch.inputs[row])[at - 1 : at + 1])
    before = np.argwhere(batch.weights == 0)[:, 1] + 1
    begun = np.argwhere(batch.segments.start)[:, 1]
    assert set(begun) <= set(before) <= {*begun, 50}  # 50: the next batch's
  assert sorted(met) == ['ab', 'bc']
  assert Text(folder, length=5).batch(KEY, 0, 2).segments is not None


def test_characters_that_training_lacks_are_token_0_and_not_scored(tmp_path):
  """Nothing could tell a model what they are; as bytes they are known."""
  path = tmp_path / 'corpus.txt'
  path.write_text('a' * 900 + 'b' * 100, encoding='utf-8')
  task = Text(str(path), length=20)
  assert task.output.vocab == 2 and task.chance == 0
  batch = task.batch(KEY, 0, 4, 'test')
  assert not batch.targets.any() and not batch.weights.any()
  assert task.decode(batch.inputs[0]) == '\ufffd' * 20
  batch = Text(str(path), level='byte', length=20).batch(KEY, 0, 4, 'test')
  assert np.all(batch.targets == ord('b')) and batch.weights.all()


def test_chance_is_the_entropy_of_single_characters(folder):
  """Of the training part alone: 500 a, 500 b and 260 c of 1400."""
  shares = np.array([500, 500, 260]) / 1260
  expected = -np.sum(shares * np.log2(shares))
  assert Text(folder).chance == pytest.approx(expected, rel=1e-12)
  assert Text(folder, level='byte').chance == pytest.approx(expected, rel=1e-12)


def test_bytes_and_characters_of_other_scripts(tmp_path):
  """An umlaut is one character and two bytes; both decode to the text."""
  path = tmp_path / 'text'
  path.write_text('Käse für Göte. ' * 30, encoding='utf-8')
  for level, size in {'character': 15, 'byte': 18}.items():
    task = Text(str(path), level=level, length=4)
    tokens = task.encode('Käse für Göte. ')
    assert len(tokens) == size and task.decode(tokens) == 'Käse für Göte. '
  assert Text(str(path), level='byte').input.vocab == 256


@pytest.mark.parametrize('level', ['character', 'byte'])
def test_the_standard_library_is_text_that_every_machine_has(level):
  """Several MB; both levels keep the contract."""
  task = Text(level=level)
  assert sum(len(part.tokens) for part in task._read().parts.values()) > 3e6
  assert 4 < task.chance < 5.5
  testing.assert_task_contract(task)


@pytest.mark.skipif(
  'SEQJAX_DATA' not in os.environ, reason='SEQJAX_DATA names no folder'
)
def test_tiny_shakespeare_read_one_row_after_the_other():
  """65 characters and the unknown one; sequential windows keep the contract."""
  path = pathlib.Path(os.environ['SEQJAX_DATA'], 'tinyshakespeare.txt')
  task = Text(str(path), sampling='sequential')
  assert task.input.vocab == 66
  assert task.chance == pytest.approx(4.77, abs=0.02)
  testing.assert_task_contract(task)


def test_tiny_shakespeare_as_tfds_prepares_it(write_prepared):
  """Its three parts are one text, which is cut again."""
  parts = [TRAVELLER[:900], TRAVELLER[900:1000], TRAVELLER[1000:]]
  data_dir = write_prepared(
    'tiny_shakespeare',
    '1.0.0',
    lambda features: {'text': features.Text()},
    {
      split: [{'text': part}]
      for split, part in zip(
        ['train', 'validation', 'test'], parts, strict=True
      )
    },
  )
  task = Text('tiny_shakespeare', data_dir=data_dir)
  whole = [part.tokens for part in task._read().parts.values()]
  assert task.decode(np.concatenate(whole)) == TRAVELLER


def test_sentences_are_read_one_a_row(write_prepared):
  """Between newlines, padded at the end, shuffled, cut where they are long."""
  pytest.importorskip('grain')
  sentences = {
    'train': [{'text': f'Sentence {"x" * (i % 30)} {i} .'} for i in range(400)],
    'test': [{'text': f'Another {i} .'} for i in range(300)],
  }
  data_dir = write_prepared(
    'lm1b', '1.1.0', lambda features: {'text': features.Text()}, sentences
  )
  task = Sentences(length=32, data_dir=data_dir)
  batch = task.batch(KEY, 0, 64)
  known = {example['text'].encode() for example in sentences['train']}
  num_cut = 0
  for inputs, targets, weights, valid in zip(
    batch.inputs,
    batch.targets,
    batch.weights,
    batch.segments.valid,
    strict=True,
  ):
    length = int(weights.sum())
    np.testing.assert_array_equal(valid, np.arange(32) < length)
    np.testing.assert_array_equal(weights, valid)
    assert inputs[0] == 10 and not inputs[length:].any()
    np.testing.assert_array_equal(inputs[1:length], targets[: length - 1])
    read = bytes([*inputs[1:length], targets[length - 1]])
    if read.endswith(b'\n'):
      assert read[:-1] in known
    else:
      assert length == 32 and any(text.startswith(read) for text in known)
      num_cut += 1
  assert 0 < num_cut < 64 and task.chance is None
  path = count_bytes(data_dir)
  assert count_bytes(data_dir) == path
  for length in (5, 32, 500):
    lines = [
      (example['text'] + '\n')[:length] for example in sentences['train'][:396]
    ]
    counts = np.unique([*''.join(lines)], return_counts=True)[1]
    shares = counts / counts.sum()
    assert Sentences(length, data_dir).chance == pytest.approx(
      -np.sum(shares * np.log2(shares))
    )
  testing.assert_task_contract(task, batches=4)


@pytest.mark.parametrize('content, message', [
  (b'', r'corpus.txt is empty: there is nothing at byte 0'),
  (b'caf\xe9 au lait', r'corpus.txt is not UTF-8 at byte 3 \(0xe9\)'),
  (b'x', r'corpus.txt has 1 characters, too few to be split'),
  (b'x' * 60, 'train part of .*corpus.txt ends at character 54, too early'),
])  # fmt: skip
def test_a_bad_corpus_is_one_sentence_with_its_name(tmp_path, content, message):
  """Empty, not UTF-8, or too short: which file, and where."""
  path = tmp_path / 'corpus.txt'
  path.write_bytes(content)
  with pytest.raises(ValueError, match=message):
    Text(str(path)).batch(KEY, 0, 4)


def test_a_corpus_that_is_not_there(tmp_path):
  """Neither a file nor a folder, or a folder without files."""
  for path in (tmp_path, tmp_path / 'none'):
    with pytest.raises(FileNotFoundError, match=str(path)):
      Text(str(path)).batch(KEY, 0, 4)
  with pytest.raises(FileNotFoundError, match="mean 'tiny_shakespeare'"):
    Text('tinyshakespeare').batch(KEY, 0, 4)
  with pytest.raises(ValueError, match=r"by the task TASKS\['lm1b'\]"):
    Text('lm1b').batch(KEY, 0, 4)
  with pytest.raises(FileNotFoundError, match='--prepare=tiny_shakespeare'):
    Text('tiny_shakespeare', data_dir=str(tmp_path)).batch(KEY, 0, 4)
  with pytest.raises(FileNotFoundError, match='--prepare=lm1b'):
    Sentences(data_dir=str(tmp_path)).batch(KEY, 0, 4)


@pytest.mark.parametrize('options, message', [
  ({'level': 'word'}, "level 'word'.*character, byte"),
  ({'sampling': 'sequental'}, "Did you mean 'sequential'"),
  ({'length': 0}, 'length of at least 1, but length=0'),
])  # fmt: skip
def test_bad_options_are_refused_at_construction(options, message):
  """One sentence with the expected and the given value."""
  with pytest.raises(ValueError, match=message):
    Text(**options)


def test_rows_that_are_too_many_for_sequential_reading(wells):
  """Says how many characters there are."""
  with pytest.raises(ValueError, match='holds 66 characters, too few for 64'):
    Text(wells, sampling='sequential').batch(KEY, 0, 64, 'test')


def test_the_share_of_known_characters_is_told_before_training(tmp_path):
  """A score over nothing is no score: 0 says that a part has nothing else."""
  path = tmp_path / 'corpus'
  path.write_text('ab' * 900 + 'xy' * 100)
  task = Text(corpus=str(path), length=8)
  for split in ('validation', 'test'):
    assert task.share_known(split) == 0
  assert Text(corpus=str(path), level='byte').share_known('test') == 1
  path = tmp_path / 'mixed'
  path.write_text('ab' * 900 + 'ax' * 100)
  task = Text(corpus=str(path), length=8)
  assert task.share_known('train') == 1
  assert abs(task.share_known('test') - 0.5) < 0.02
