"""Any task and any mixer, from flags alone."""

import dataclasses

import pytest
import train

SMALL = train.Config(
  features=8, layers=1, context=64, steps=4, batch_size=4, log_every=2
)


@pytest.mark.parametrize(
  'task, options, mixer',
  [
    ('copy_memory', 'delay=3,num_copied=8', 'attention'),
    ('parity', '', 'bidirectional'),
    ('digits', '', 'mingru'),
  ],
)
def test_a_run_has_its_scores_beside_chance(task, options, mixer, tmp_path):
  """Tasks on the device and on the host, one answer or many."""
  config = dataclasses.replace(
    SMALL, task=task, task_options=options, mixer=mixer
  )
  summary = train.run(config, tmp_path)
  assert summary['metric'] == 'accuracy' and 0 <= summary['test'] <= 1
  assert 0 < summary['chance'] < 1
  assert train.run(config, tmp_path) == summary


def test_a_run_in_half_precision_computes_blocks_again(tmp_path):
  """And drops some of them; it gives a finite score all the same."""
  config = dataclasses.replace(
    SMALL, task='parity', dtype='bfloat16', remat=True, dropout=0.2
  )
  assert 0 <= train.run(config, tmp_path, shard=True)['test'] <= 1


def test_a_corpus_is_any_file(tmp_path):
  """Its characters are the vocabulary, its entropy is chance."""
  path = tmp_path / 'notes.txt'
  path.write_text('the time machine, by one who was there. ' * 200)
  config = dataclasses.replace(SMALL, task='text', corpus=str(path))
  summary = train.run(config, tmp_path / 'run')
  assert summary['metric'] == 'bits' and 2 < summary['chance'] < 5


@pytest.mark.parametrize(
  'options, message',
  [
    ({'task_options': 'dely=3', 'task': 'copy_memory'}, "mean 'delay'"),
    ({'mixer_options': 'num_heads'}, "got 'num_heads'"),
    ({'corpus': 'notes.txt'}, 'task=recall was given'),
    ({'mixer': 'bidirectional', 'task': 'synonyms'}, 'bidirectional sees'),
    ({'data_dir': 'here'}, 'recall reads no data'),
    ({'layers': 0}, 'layers=0'),
    ({'keep_latest': 0}, 'at least 1, but keep_latest=0'),
    ({'patience': -1}, 'at least 0, but patience=-1'),
  ],
)
def test_bad_flags_get_a_sentence(options, message, tmp_path):
  """Before anything is written."""
  with pytest.raises(ValueError, match=message):
    train.run(dataclasses.replace(SMALL, **options), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()
