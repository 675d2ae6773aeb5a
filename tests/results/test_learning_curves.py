"""Learning curves show the numbers that were logged."""

import dataclasses
import math

import pytest

from seqjax import results
from seqjax.results import learning_curves

pytest.importorskip('matplotlib')


@dataclasses.dataclass(frozen=True)
class Config:
  mixer: str = 'gru'
  task: str = 'parity'
  seed: int = 0


def write(folder, config, losses, **summary):
  with results.Run(folder, config) as run:
    for step, loss in losses.items():
      run.log(step, loss=loss, validation=loss / 2)
    run.finish(**summary)
  return folder


@pytest.fixture
def two(tmp_path):
  return [
    write(tmp_path / 'a', Config(), {1: 2.0, 5: 1.0}, chance=0.5, ceiling=1.0),
    write(
      tmp_path / 'b', Config(mixer='lstm'), {1: 3.0, 5: math.nan, 9: 0.5},
      chance=0.5, ceiling=None,
    ),
  ]  # fmt: skip


def test_a_line_holds_what_a_run_has_logged(two, tmp_path, monkeypatch):
  """Steps against numbers; what is not finite leaves a gap."""
  drawn = []
  monkeypatch.setattr(
    learning_curves.plotting, 'line',
    lambda panel, x, y, label, name: drawn.append((x, y, label)),
  )  # fmt: skip
  monkeypatch.setattr(
    learning_curves.plotting, 'save', lambda figure, path: None
  )
  results.curves(two, tmp_path / 'figure.svg', ['loss'])
  (a, b) = drawn
  assert a == ([1, 5], [2.0, 1.0], 'gru')
  assert b[0] == [1, 5, 9] and math.isnan(b[1][1]) and b[2] == 'lstm'


def test_the_figure_names_runs_metrics_and_chance(two, tmp_path):
  """Chance where all agree on it; the ceiling, which they do not, is none."""
  results.curves(two, tmp_path / 'figure.svg')
  text = (tmp_path / 'figure.svg').read_text()
  for word in ('gru', 'lstm', 'loss', 'validation', 'updates', 'chance 0.5'):
    assert f'>{word}<' in text
  assert 'ceiling' not in text


def test_labels_are_the_options_that_differ():
  """With their names, but for mixers and tasks; folders break ties."""
  label = lambda *configs: learning_curves.labels_of(  # noqa: E731
    [dataclasses.asdict(config) for config in configs], ['a', 'b']
  )
  assert label(Config(), Config(mixer='lstm')) == ['gru', 'lstm']
  assert label(Config(), Config(mixer='lstm', seed=1)) == [
    'gru, seed 0', 'lstm, seed 1',
  ]  # fmt: skip
  assert label(Config(), Config()) == ['a', 'b']
  other = Config(task='associative_recall_with_a_long_name', seed=10)
  assert label(Config(), other) == ['a', 'b']


def test_what_cannot_be_drawn_is_a_sentence(two, tmp_path):
  """And no file is left."""
  path = tmp_path / 'figure.svg'
  with pytest.raises(
    ValueError, match="logged 'acuracy'; logged are: step, lo"
  ):
    results.curves(two, path, ['acuracy'])
  with pytest.raises(ValueError, match='There is no run in'):
    results.curves([tmp_path], path)
  for none in ([], str(two[0])):
    with pytest.raises(ValueError, match='a list of folders, but'):
      results.curves(none, path)
  with pytest.raises(ValueError, match='Figures are'):
    results.curves(two, tmp_path / 'figure.gif')
  assert not path.exists()
