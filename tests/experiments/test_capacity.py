"""The experiment on capacity, at sizes that take seconds."""

import math

import flax.linen as nn
import jax
import numpy as np
import pytest

from experiments import axes, folders
from experiments.capacity import claims, main, plot, sweep
from seqjax.analysis.verdicts import REFUTED, SUPPORTED, UNDECIDED
from seqjax.nn import WindowMLP
from tests.experiments import refusals

TINY = {
  'steps': 4, 'batch_size': 4, 'seeds': 1, 'tuning_seeds': 1,
  'learning_rates': (3e-3,),
}  # fmt: skip
MINE = {'mine': lambda features, context: WindowMLP(features, tau=2)}


def test_a_cell_measures_a_mixer_of_the_callers(tmp_path):
  """And is not done again once it has finished."""
  config = main.Config(mixer='mine', part='copy', features=4, **TINY)
  summary = main.run(config, tmp_path, MINE)
  (row,) = summary['rows']
  assert row['measure'] == 'bits' and 0 <= row['value'] <= row['at'] == 24
  assert row['width'] == row['carry_floats'] == 4
  assert main.run(config, tmp_path, MINE) == summary


class LooksUp(nn.Module):
  """Knows the answer by heart: 20 is the logit of the value of the key."""

  def __call__(self, tokens):
    answers = main.TASKS['recall']._look_up(tokens, tokens)
    return 20 * jax.nn.one_hot(answers - 16, 16)


def test_edits_are_measured_where_the_fact_stands():
  """One who looks up loses its answer by either edit, near or far."""
  rows = main.edits(LooksUp(), {}, main.TASKS['recall'])
  found = {(row['measure'], row['at']): row['value'] for row in rows}
  assert set(found) == {
    (f'edit of the {edited}', band)
    for edited in ('key', 'value')
    for band in main.BANDS
  }
  for (edited, _), fall in found.items():  # without the key it knows nothing
    exact = math.log(16) if 'key' in edited else 20
    assert fall == pytest.approx(exact, rel=0.01)
  assert sum(row['examples'] for row in rows) == 2 * main.EDITED


def test_an_edit_is_another_token_of_its_kind():
  """One that the row lacks, where there is one."""
  rng = np.random.default_rng(0)
  inputs = np.array([[0, 2, 1, 3], [0, 1, 2, 3]])
  position = np.array([0, 2])
  assert main._another(inputs, position, 0, 5, rng).tolist() == [4, 4]
  assert main._another(inputs, position, 0, 4, rng)[0] in (1, 2, 3)


def test_networks_of_equal_size_translate_with_attention_and_without():
  """Parameters of the whole differ by a tenth at most."""
  made = [
    main.check(main.Config(part='translate', attention=reads))['layers=1']
    for reads in (False, True)
  ]
  counts = [main.num_parameters(model) for model in made]
  assert made[0].passes_carry and max(counts) < 1.1 * min(counts)


@pytest.mark.parametrize(
  'bad, message',
  [
    ({'mixer': 'grru', 'features': 8}, "Did you mean 'gru'"),
    ({'part': 'copying', 'features': 8}, "'copying'"),
    ({'part': 'recall'}, 'features=0'),
    ({'part': 'translate', 'features': 8}, 'features=8'),
    ({'part': 'copy', 'features': 8, 'attention': True}, 'attention=True'),
    ({'mixer': 'attention', 'features': 3}, 'features=3'),
    ({'features': 8, 'seeds': 0}, 'seeds=0'),
  ],
)
def test_bad_options_are_refused_before_anything_is_written(
  bad, message, tmp_path
):
  """One sentence, no folder."""
  refusals.check(main, bad, message, tmp_path / 'run')


@pytest.mark.parametrize('preset', sweep.PRESETS)
def test_presets_measure_what_the_claims_need(preset):
  """Every cell once, with one grid and as many seeds."""
  found = folders.find('capacity')
  configs = axes.cells(found, **found.axes(preset))
  assert len(set(configs)) == len(configs)
  recall = {c.mixer for c in configs if c.part == 'recall'}
  assert {claims.MATRIX, claims.SEES} <= recall
  for name in ('learning_rates', 'seeds', 'tuning_seeds'):
    assert len({getattr(config, name) for config in configs}) == 1
  assert len({c.features for c in configs if c.mixer == claims.MATRIX}) > 1
  if preset == 'full':
    assert sum(c.part == 'copy' for c in configs) > 1
    parts = [c.attention for c in configs if c.part == 'translate']
    assert sorted(parts) == [False, True] and claims.VECTOR in recall


FLOATS = {'deltanet': 25, 'attention': 128, 'gru': 1, 'mine': 2}


def rows(
  recall=None, bits=None, translate=None, edit=None, seeds=8, mixers=FLOATS
):
  """Rows as the experiment writes them, of numbers by (mixer, width)."""
  recall = recall or (lambda mixer, width: 1.0)
  bits = bits or (lambda width: 24.0 * min(1, width / 16))
  translate = translate or (lambda reads, n: 1.0 if reads else 8 / n)
  edit = edit or (lambda mixer, edited, band: 8.0)
  made = []
  shared = {
    'chance': 0.1, 'steps': 400, 'examples': 2048, 'device': 'cpu', 'cpus': 1,
    'jax': '0.10.2', 'precision': 'float32', 'commit': 'abc',
  }  # fmt: skip

  def add(seed, mixer, part, width, measure, at, value, attention=False):
    value = value * (1 - 1e-3 * (seed % 3))
    made.append(
      shared
      | {'mixer': mixer, 'part': part, 'width': width, 'attention': attention,
         'carry_floats': FLOATS[mixer] * width, 'seed': seed,
         'measure': measure, 'at': at, 'value': value}
    )  # fmt: skip

  for seed in range(seeds):
    for mixer in mixers:
      for width in (8, 16, 32):
        add(seed, mixer, 'recall', width, 'accuracy', 8, recall(mixer, width))
        for edited in ('key', 'value'):
          for band in main.BANDS:
            add(seed, mixer, 'recall', width, f'edit of the {edited}', band,
                edit(mixer, edited, band))  # fmt: skip
    if 'gru' in mixers:
      for width in (4, 8, 16):
        add(seed, 'gru', 'copy', width, 'bits', 24.0, bits(width))
      for reads in (False, True):
        for n in main.LENGTHS:
          add(seed, 'gru', 'translate', 48, 'accuracy', n, translate(reads, n),
              reads)  # fmt: skip
  return made


def judged(*args, **kwargs):
  return {v.id: v for v in claims.verdicts(rows(*args, **kwargs))}


def bottleneck(mixer, width):
  """DeltaNet recalls as much as its width allows, a GRU does not bind."""
  return {'deltanet': width / 32, 'gru': 0.12}.get(mixer, 1.0)


@pytest.mark.parametrize(
  'recall, word, said',
  [
    (bottleneck, SUPPORTED, 'at the plateau of 0.125 or below: gru'),
    (lambda mixer, width: 1.0, REFUTED, 'deltanet of width 8 1.00'),
    (lambda mixer, width: 0.12 if mixer == 'deltanet' else 1.0, UNDECIDED,
     'deltanet is learnt at no width'),
    (lambda mixer, width: 0.3 if mixer == 'attention' else 1.0, UNDECIDED,
     'attention is learnt at no width'),
  ],
)  # fmt: skip
def test_recall_is_judged_where_attention_can_do_it(recall, word, said):
  """A network that did not learn decides nothing."""
  found = judged(recall)['2.3a']
  assert found.verdict == word and said in found.sentence
  if word == SUPPORTED:
    assert found.effect == pytest.approx(0.75, abs=0.01)
    assert found.p < 0.05 / 43
    assert '(1,024 and 200 numbers)' in found.quantity


@pytest.mark.parametrize(
  'bits, word',
  [
    (None, SUPPORTED),
    (lambda width: 24.0, REFUTED),
    (lambda width: 6.0 + width / 16, UNDECIDED),  # the widest has not learnt
    (lambda width: 24.0 - 4 * (width == 8), REFUTED),
  ],
)
def test_bits_rise_with_the_carry(bits, word):
  """And those of the narrowest that knows all are no bottleneck."""
  assert judged(bits=bits)['2.3b'].verdict == word


def test_more_bits_than_a_carry_holds_refute():
  """A planted error in one row: more bits than 8 numbers have."""
  made = rows()
  assert judged()['2.3b'].verdict == SUPPORTED
  place = next(
    i for i, r in enumerate(made) if (r['part'], r['width']) == ('copy', 8)
  )
  made[place]['value'] = 300.0
  found = {v.id: v for v in claims.verdicts(made)}
  assert found['2.3b'].verdict == REFUTED


@pytest.mark.parametrize(
  'translate, word',
  [
    (None, SUPPORTED),
    (lambda reads, n: 1.0, REFUTED),
    (lambda reads, n: 1.0 if reads else 0.5, UNDECIDED),  # it does not grow
    (lambda reads, n: 0.9 if reads else 0.1, UNDECIDED),  # nor is it learnt
    (lambda reads, n: 8 / n if reads else 1.0, REFUTED),  # sides swapped
  ],
)
def test_attention_helps_more_with_longer_sources(translate, word):
  """Differences that are equal at all lengths show no bottleneck."""
  assert judged(translate=translate)['2.3c'].verdict == word


@pytest.mark.parametrize(
  'edit, word',
  [
    (lambda mixer, edited, band: 80 / band if mixer == 'deltanet' else 8.0,
     SUPPORTED),
    (lambda mixer, edited, band: 8.0, REFUTED),
    (lambda mixer, edited, band: 80 / band if mixer == 'attention' else 8.0,
     REFUTED),
    (lambda mixer, edited, band: 80 / band / (band if mixer == 'deltanet'
     else 1), UNDECIDED),  # attention falls too
  ],
)  # fmt: skip
def test_access_is_told_by_the_effect_of_edits(edit, word):
  """Networks that have learnt are compared; a GRU is only named."""
  found = judged(edit=edit)['2.5']
  assert found.verdict == word and 'gru of width 32' in found.sentence
  unlearnt = judged(bottleneck, edit=edit)['2.5']
  assert 'gru of width 32 (not learnt)' in unlearnt.sentence
  none = judged(lambda mixer, width: 0.1, edit=edit)['2.5']
  assert none.verdict == UNDECIDED and 'not learnt within' in none.sentence


def test_few_seeds_decide_nothing_and_lean():
  """Four are too few for an interval."""
  found = judged(bottleneck, seeds=4)
  assert {v.verdict for v in found.values()} == {UNDECIDED}
  assert found['2.3a'].leans == 'to SUPPORTED (by the means)'


def test_missing_rows_name_the_command():
  """All four claims need rows of their own."""
  found = judged(mixers=('mine',))
  assert {v.verdict for v in found.values()} == {UNDECIDED}
  assert all(claims.COMMAND in v.sentence for v in found.values())


def test_a_training_that_is_not_finite_has_learnt_nothing():
  """It scores as guessing does."""
  made = rows(bottleneck)
  lost = [
    row | {'measure': None, 'at': None, 'value': None}
    if row['seed'] == 3 and row['mixer'] == 'attention'
    else row
    for row in made
  ]
  lost = [r for i, r in enumerate(lost) if r['measure'] or not i % 9]
  (group,) = [
    g for g in claims.groups(lost) if (g.mixer, g.width) == ('attention', 8)
  ]
  assert group.main.tolist().count(0.1) == 1 and group.num_seeds == 8
  assert not math.isnan(group.main.sum())


def test_two_rows_of_one_training_are_refused():
  """As where two tables were joined."""
  with pytest.raises(ValueError, match='one row for each training'):
    claims.groups(rows() + rows())


def test_a_mixer_of_ones_own_has_a_line_and_no_vote():
  """The rules are those of the library's own mixers."""

  def recall(mixer, width):
    return 0.5 if mixer == 'mine' else bottleneck(mixer, width)

  assert judged(recall)['2.3a'].verdict == SUPPORTED
  lines = claims.summary(rows(recall)).splitlines()
  assert len([line for line in lines if ' mine ' in line]) == 3


@pytest.mark.parametrize('seeds', [2, 5])
def test_a_figure_is_drawn(seeds, tmp_path):
  """A panel for each task, and one for edits."""
  path = tmp_path / 'figure.svg'
  plot.draw(rows(bottleneck, seeds=seeds), str(path))
  text = path.read_text()
  assert all(title in text for title in plot.TITLES.values())
  assert 'deltanet, key' in text and 'with attention' in text
