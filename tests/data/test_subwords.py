"""Subwords: merges by a plain loop, bits per byte, and what a run keeps."""

import collections
import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from seqjax import testing
from seqjax.cli import build, evaluate, generate, train
from seqjax.data import corpus as corpora
from seqjax.data import subwords
from seqjax.tasks.text import Text
from tests.data.test_missing_packages import hide

pytest.importorskip('tokenizers')
KEY = jax.random.key(0)
WORDS = 'the then there these here hear heard hearth earth ear'.split()
TEXT = ' '.join(WORDS[i * i % 7 + i % 4] for i in range(900)) + ' Käse ☃ für'


@pytest.fixture
def corpus(tmp_path):
  """A file of words that share their parts."""
  path = tmp_path / 'words.txt'
  path.write_text(TEXT, encoding='utf-8')
  return str(path)


def subword_task(corpus, **options):
  options = {'vocabulary_size': 270, 'length': 8} | options
  return Text(corpus, level='subword', **options)


def merged(word, pair):
  """A word with all neighbours of one pair made one, from left to right."""
  found = []
  for token in word:
    if found and (found[-1], token) == pair:
      found[-1] = found[-1] + token
    else:
      found.append(token)
  return tuple(found)


def test_the_most_frequent_pair_is_merged_first():
  """Merges by counting pairs in words, each with the space before it."""
  words = ['ab', *[' ab'] * 9, *[' abc'] * 6, *[' xab'] * 4, ' bcbc', ' bc']
  words += [' xyz'] * 3
  counts = collections.Counter(tuple(word) for word in words)
  expected = []
  for _ in range(4):
    pairs = collections.Counter()
    for word, count in counts.items():
      for pair in zip(word, word[1:], strict=False):
        pairs[pair] += count
    (best, first), (_, second) = pairs.most_common(2)
    assert first > second, 'a tie, which the test does not settle'
    expected.append(''.join(best))
    again = collections.Counter()
    for word, count in counts.items():
      again[merged(word, best)] += count
    counts = again
  found = subwords.train_subwords([''.join(words)], 256 + 4)
  assert found.size == 260
  assert [found.decode(np.array([256 + i])) for i in range(4)] == expected
  assert found.sizes[256:].tolist() == list(map(len, expected))


def test_any_text_comes_back_and_its_bytes_are_counted(corpus):
  """Letters, umlauts, and signs that training has never seen."""
  task = subword_task(corpus)
  assert task.input.vocab == 270
  for text in ('the earth', 'Käse für Göte', '日本 \n\n\t x', ''):
    tokens = task.encode(text)
    assert task.decode(tokens) == text
    sizes = task._tokens().sizes[tokens]
    assert sizes.sum() == len(text.encode('utf-8'))
  assert len(task.encode('the earth')) < 6
  with pytest.raises(ValueError, match=r'lie in 0..269, but 270 was given'):
    task.decode(np.array([270]))


def test_subwords_are_fitted_to_the_training_part_alone(tmp_path):
  """Merges do not change by what stands in the other parts."""
  fitted = []
  for end in ('xyxyxy' * 50, 'vwvwvw' * 50):
    path = tmp_path / end[:2]
    path.write_text('the earth ' * 270 + end)
    fitted.append(subword_task(str(path)).fitted['vocabulary'])
  assert fitted[0] == fitted[1]


def test_documents_and_parts_are_not_merged_with_one_another(tmp_path):
  """A start where a document begins, and the parts make up the text."""
  texts = {'a': 'the earth ' * 50, 'b': 'here ' * 30, 'c': 'hear ' * 60}
  for name, text in texts.items():
    (tmp_path / name).write_text(text)
  task = subword_task(str(tmp_path), vocabulary_size=300)
  parts = task._read().parts
  assert ''.join(task.decode(p.tokens) for p in parts.values()) == ''.join(
    texts.values()
  )
  whole = ''.join(texts.values())
  cuts = [0, int(0.9 * len(whole)), int(0.95 * len(whole)), len(whole)]
  for part, begin, end in zip(parts.values(), cuts, cuts[1:], strict=False):
    assert task.decode(part.tokens) == whole[begin:end]
  starts = np.flatnonzero(parts['train'].starts)
  before = [task.decode(parts['train'].tokens[:at]) for at in starts]
  assert before == [texts['a'], texts['a'] + texts['b']]


def test_scores_are_in_bits_per_byte(corpus):
  """Equal logits cost log2 of the vocabulary a token, over all its bytes."""
  task = subword_task(corpus)
  batch = task.batch(KEY, 0, 16)
  logits = np.zeros((*batch.targets.shape, 270), np.float32)
  score, weight = map(np.asarray, task.score(logits, batch))
  # Windows may cut a letter of several bytes; those of the text's end do.
  rows = [task.decode(row) for row in batch.targets]
  whole = ['\ufffd' not in row for row in rows]
  expected = [len(row.encode('utf-8')) for row in rows]
  assert sum(whole) > 8
  assert (
    weight.sum(axis=1)[whole].tolist() == np.array(expected)[whole].tolist()
  )
  num_bytes = weight.sum()
  bits = batch.targets.size * math.log2(270) / num_bytes
  assert np.average(score, weights=weight) == pytest.approx(bits, rel=1e-6)
  tokens = task._read().parts['train'].tokens.tolist()
  shares = np.array(list(collections.Counter(tokens).values())) / len(tokens)
  train_bytes = len(task.decode(np.array(tokens)).encode('utf-8'))
  entropy = -np.sum(shares * np.log2(shares))
  expected = entropy * len(tokens) / train_bytes
  assert task.chance == pytest.approx(expected, rel=1e-9)


def test_subwords_keep_the_contract(tmp_path):
  """Chance is in bits per byte, as the best constants score."""
  rng = np.random.default_rng(0)
  path = tmp_path / 'words.txt'
  path.write_text(' '.join(rng.choice(WORDS, 60_000)))
  testing.assert_task_contract(subword_task(str(path), length=24), batches=8)


def test_what_a_run_keeps_is_read_again_without_the_corpus(corpus, tmp_path):
  """The tokenizer, as JSON in fitted.json; another text is encoded by it."""
  task = subword_task(corpus)
  build.write_fitted(task, tmp_path)
  kept = build.read_fitted(tmp_path)
  assert json.loads(kept['vocabulary'])['model']['type'] == 'BPE'
  again = subword_task('nowhere').with_fitted(kept)
  assert again.input == task.input and again.fitted == task.fitted
  np.testing.assert_array_equal(again.encode('earth'), task.encode('earth'))
  assert task.fingerprint == subword_task(corpus).fingerprint


@pytest.mark.parametrize('vocabulary, message', [
  ('abc', 'no tokenizer.json of byte pairs: .abc'),
  ('{"model": {"type": "BPE"}}', 'no tokenizer.json of byte pairs'),
  ('{"model": {"type": "WordLevel"}}', 'but is one of WordLevel'),
  ('{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": '
   '[]}}', 'this one has 1 tokens, of which 1 are bytes'),
])  # fmt: skip
def test_what_is_no_tokenizer_of_bytes_is_refused(corpus, vocabulary, message):
  """One sentence, as it is loaded."""
  with pytest.raises(ValueError, match=message):
    subword_task(corpus).with_fitted({'vocabulary': vocabulary})


def test_bad_options_and_texts_are_refused(tmp_path):
  """The vocabulary holds every byte; a text is UTF-8."""
  with pytest.raises(ValueError, match='vocabulary_size of at least 256'):
    Text(level='subword', vocabulary_size=255)
  path = tmp_path / 'latin'
  path.write_bytes(b'caf\xe9')
  with pytest.raises(ValueError, match='is not UTF-8 at byte 3'):
    subword_task(str(path)).batch(KEY, 0, 2)
  path.write_bytes(b'x')
  with pytest.raises(ValueError, match='has 1 characters, too few'):
    subword_task(str(path)).batch(KEY, 0, 2)


def test_without_the_package_one_sentence_says_what_installs_it(
  corpus, monkeypatch
):
  """Fitting and loading alike; a task can still be made."""
  kept = subword_task(corpus).fitted['vocabulary']
  hide(monkeypatch, 'tokenizers')
  subwords._tokenizer.cache_clear()
  task = subword_task('other', vocabulary_size=300)
  message = r"module tokenizers is not installed.* '\.\[tokenizers\]' installs"
  for call in (
    lambda: subwords.train_subwords(['ab'], 256),
    lambda: task.with_fitted({'vocabulary': kept}),
  ):
    with pytest.raises(ModuleNotFoundError, match=message):
      call()


@pytest.mark.slow
def test_a_run_in_subwords_goes_on_by_the_tokenizer_that_it_kept(
  corpus, tmp_path, monkeypatch
):
  """Also where another one would be fitted now, or the corpus has changed."""
  config = train.Config(
    task='text', corpus=corpus, mixer='gru', layers=1, features=8, steps=4,
    batch_size=4, log_every=2,
    task_options='level=subword,vocabulary_size=270,length=8',
  )  # fmt: skip
  train.run(config, tmp_path)
  fit = corpora.train_subwords
  monkeypatch.setattr(
    corpora, 'train_subwords', lambda texts, _: fit(texts, 256)
  )
  corpora.read_corpus.cache_clear()
  (row,) = evaluate.run(evaluate.Config(batches=2), str(tmp_path))
  assert 0 < row['score'] < 20 and row['share'] == 1
  other = tmp_path / 'other.txt'
  other.write_text('hear the earth ' * 300)
  options = f'corpus={other}'
  (row,) = evaluate.run(
    evaluate.Config(batches=2, task_options=options), str(tmp_path)
  )
  assert 0 < row['score'] < 20
  told = generate.run(generate.Config('the', num_tokens=4), str(tmp_path))
  assert told.startswith('the') and len(told) > 3
  kept = json.loads((tmp_path / 'fitted.json').read_text())
  longer = dataclasses.replace(config, steps=6)
  assert train.run(longer, tmp_path, extend=True)['steps_taken'] == 6
  assert json.loads((tmp_path / 'fitted.json').read_text()) == kept
