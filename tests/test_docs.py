"""The code on the pages of docs/ runs."""

import pathlib
import re

import pytest

from seqjax.cli import export, train

DOCS = pathlib.Path(__file__).parent.parent / 'docs'


def blocks_of(page: str) -> list[str]:
  text = (DOCS / page).read_text(encoding='utf-8')
  return re.findall(r'^```python\n(.*?)^```', text, re.M | re.S)


def test_the_page_of_runs_runs(tmp_path, monkeypatch, capsys):
  """On a run that is made as it says, block after block."""
  pytest.importorskip('safetensors')
  pytest.importorskip('matplotlib')
  monkeypatch.chdir(tmp_path)
  config = train.Config(
    features=8, layers=1, steps=4, log_every=2, batch_size=4
  )
  train.run(config, 'runs/train')
  export.run(export.Config(to='model.safetensors'), 'runs/train')
  namespace = {}
  for block in blocks_of('runs.md'):
    exec(compile(block, 'runs.md', 'exec'), namespace)
  assert len(blocks_of('runs.md')) == 4
  assert namespace['logits'].shape[0] == 8
  assert (tmp_path / 'curves.svg').exists()
  assert namespace['rows'][0]['run'] == 'train'
  assert str(int(namespace['state']['step'])) in capsys.readouterr().out


def test_the_page_of_runs_names_every_file_of_a_run(tmp_path):
  """And none that there is not."""
  text = (DOCS / 'runs.md').read_text(encoding='utf-8')
  named = set(re.findall(r'^\| `([\w.]+)', text, re.M))
  assert named == {
    'config.json', 'metrics.jsonl', 'summary.json', 'evaluation.json',
    'fitted.json', 'checkpoints', 'failed.json', 'lock.json',
  }  # fmt: skip
