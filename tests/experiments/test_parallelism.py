"""The parallelism experiment, at sizes that take seconds."""

import dataclasses
import functools
import math
import os

import numpy as np
import pytest

from experiments import axes, folders
from experiments.parallelism import (
  card,
  claims,
  exact,
  main,
  plot,
  recalled,
  sweep,
)
from experiments.parallelism.ratios import PRIMARY, Cell, cell_of, ratios
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  SUPPORTED,
  UNDECIDED,
)
from seqjax.models import num_parameters
from seqjax.nn import LSTM, MIXERS, Attention
from seqjax.results import plotting, report, table
from seqjax.tasks.synthetic.recall import Recall

MINE = {'lstm': LSTM, 'mine': functools.partial(Attention, positions='none')}
HARDWARE = ('2.1b', '2.1c', '2.6')


@pytest.mark.parametrize('block', main.BLOCKS)
@pytest.mark.parametrize('work', ('training', 'decoding'))
def test_a_cell_gives_a_row_a_mixer_also_for_a_mixer_of_the_callers(
  work, block, tmp_path
):
  """Every column is there; a second call reads what the first has written."""
  config = main.Config(
    work=work, block=block, length=16, batch_size=2, parameters=3250
  )
  summary = main.run(config, tmp_path / 'cell', MINE)
  assert [row['mixer'] for row in summary['rows']] == ['lstm', 'mine']
  for row in summary['rows']:
    assert len(row['round_seconds']) == 11 and row['pid'] == os.getpid()
    assert 0 < min(row['round_seconds']) <= row['seconds']
    assert row['seconds'] <= max(row['round_seconds'])
    assert abs(row['mixer_parameters'] / 3250 - 1) <= 0.1
    assert row['share_of_peak'] > 0 and row['suspect'] in (True, False)
    assert row['suspect'] or row['share_of_peak'] <= 1.1
    assert row['matmul_flops'] > 0 and row['needed_bytes'] > 0
  again = main.run(config, tmp_path / 'cell', MINE)
  assert again == summary


def test_what_would_not_fit_is_listed_and_not_run(tmp_path, monkeypatch):
  """The bytes are those that the compiler predicts."""
  monkeypatch.setattr(main, 'SHARE', 1e-9)
  config = main.Config(length=16, parameters=2200)
  with pytest.raises(ValueError, match='nothing to time'):
    main.run(config, tmp_path / 'none', MINE)
  monkeypatch.setattr(main, 'needed_bytes', lambda mixer, config: (
    10**15 if isinstance(mixer, Attention) else 0))  # fmt: skip
  monkeypatch.setattr(main, 'SHARE', 0.25)
  lstm, mine = main.run(config, tmp_path / 'one', MINE)['rows']
  assert 'seconds' in lstm and 'seconds' not in mine
  assert mine['needed_bytes'] == 10**15


@pytest.mark.parametrize('block', main.BLOCKS)
def test_every_contestant_has_the_same_number_of_parameters(block):
  """Within a tenth of each other, norms and perceptron counted."""
  config = main.Config(length=64, block=block)
  made = main.check(config)
  counts = [num_parameters(layer) for layer in made.values()]
  assert list(made) == list(main.COMPARED)
  assert max(counts) <= 1.1 * 25000 and min(counts) >= 0.9 * 25000


@pytest.mark.parametrize(
  'bad, message',
  [
    ({'length': 0}, 'length=0'),
    ({'batch_size': -1}, 'batch_size=-1'),
    ({'work': 'trainings'}, "mean 'training'"),
    ({'block': 'blocks'}, "mean 'block'"),
    ({'work': 'exact', 'mixers': ('tcn',)}, "recurrence 'tcn'"),
  ],
)
def test_bad_knobs_are_refused_before_anything_is_written(
  bad, message, tmp_path
):
  """One sentence, no folder."""
  with pytest.raises(ValueError, match=message):
    main.run(main.Config(**bad), tmp_path / 'cell')
  assert not list(tmp_path.iterdir())


def test_another_configs_folder_is_refused(tmp_path):
  """And nothing in it is overwritten."""
  config = main.Config(length=16, parameters=2200)
  main.run(config, tmp_path, {'lstm': LSTM})
  before = {p: p.read_bytes() for p in tmp_path.iterdir()}
  with pytest.raises(ValueError, match='length'):
    main.run(dataclasses.replace(config, length=32), tmp_path, {'lstm': LSTM})
  assert before == {p: p.read_bytes() for p in tmp_path.iterdir()}


def test_mixers_are_named_once_and_are_known(tmp_path):
  """A typo is refused before anything is written."""
  with pytest.raises(ValueError, match='each mixer once'):
    main.Config(mixers=('lstm', 'lstm'))
  with pytest.raises(ValueError, match="'ltsm'. Did you mean 'lstm'"):
    main.run(main.Config(mixers=('ltsm',)), tmp_path / 'run')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('block', main.BLOCKS)
def test_flops_of_attention_are_those_of_pairs_that_meet(block):
  """Half of the dense ones and the diagonal; no fewer for a plain form."""
  config = main.Config(work='training', length=300, block=block)
  around = {'bare': lambda mixer: mixer, 'block': main.Block}[block]
  (fast, plain) = (
    around(Attention(8, 300, algorithm=a)) for a in ('auto', 'plain')
  )
  useful = main.useful_flops(fast, config)
  assert useful == main.useful_flops(plain, config)
  matrices = 4 + 4 * (block == 'block')  # a perceptron is twice as wide
  projections = 3 * matrices * 2 * 300 * 8 * 8
  assert useful == projections + 6 * 2 * 8 * (300 * 301 // 2)


# The exact check.


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=pytest.mark.slow if name == 'gru' else ())
    for name in exact.SOLVED
  ],
)
def test_recurrences_are_solved_in_parallel_with_trained_weights(
  name, monkeypatch
):
  """To float tolerance; the rows say in how many iterations."""
  monkeypatch.setattr(exact, 'TASK', Recall(lag=8, design='mixed'))
  monkeypatch.setattr(exact, 'UPDATES', 300)
  found = exact.rows(name, 2200, batch_size=2, length=64)
  assert [row['weights'] for row in found] == ['random', 'trained']
  for row in found:
    assert row['converged'] and 0 <= row['deviation'] < 1e-5
    assert (row['iterations'] is None) == (name == 'mingru')
  assert found[0]['deviation'] != found[1]['deviation']
  assert found[1]['training_loss'] < 0.9 * math.log(8)  # that of guessing


def test_what_newton_does_not_solve_is_not_hidden_by_the_scan(monkeypatch):
  """With one iteration it is nowhere near, and says so."""
  once = functools.partial(exact.newton, max_iterations=1)
  monkeypatch.setattr(exact, 'newton', once)
  monkeypatch.setattr(exact, 'UPDATES', 1)
  row = exact.rows('lstm', 2200, batch_size=2, length=64)[0]
  assert not row['converged'] and row['deviation'] > claims.TOLERANCE


def test_lengths_of_the_check_end_at_the_longest():
  """From 64 on, by factors of four."""
  assert exact.lengths(1024) == [64, 256, 1024]
  assert exact.lengths(100) == [100]


# The cells.


@pytest.mark.parametrize('preset', sweep.PRESETS)
def test_every_preset_tests_the_claims_in_five_processes(preset):
  """Each cell once, and both sides at the primary cell."""
  found = folders.find('parallelism')
  cells = axes.cells(found, **found.axes(preset))
  assert len(set(cells)) == len(cells)
  tested = [
    cell
    for cell in cells
    if cell.work == 'training'
    and Cell(*(getattr(cell, f) for f in Cell._fields)) == PRIMARY
  ]
  assert [cell.process for cell in tested] == [0, 1, 2, 3, 4]
  assert all({'lstm', 'attention'} <= set(cell.mixers) for cell in tested)
  assert [c.mixers[0] for c in cells if c.work == 'exact'] != []


def test_few_mixers_are_all_timed_in_every_process():
  """Of many only the pair, and none where the pair is not among them."""
  preset = dict(sweep.PRESETS['first'], work=('training',))

  def timed_last(*mixers):
    return {
      cell.process: cell.mixers
      for cell in sweep.cells(**preset | {'mixers': mixers})
    }

  assert timed_last('lstm', 'mamba2', 'attention')[4] == (
    'lstm', 'mamba2', 'attention')  # fmt: skip
  many = ('elman', 'gru', 'lstm', 'tcn', 'attention')
  assert timed_last(*many)[4] == ('lstm', 'attention')
  assert timed_last(*many)[0] == many
  assert set(timed_last('elman', 'gru', 'tcn', 'mingru', 'mamba2')) == {0}


def test_cells_of_another_number_are_in_another_process():
  """Groups are by the number, and each has a process of its own."""
  found = folders.find('parallelism')
  groups = found.groups(axes.cells(found, **found.axes('first')))
  assert found.apart and len(groups) == 5
  assert [{c.process for c in group} for group in groups] == [
    {i} for i in range(5)
  ]


def test_cells_that_take_too_long_are_left_out():
  """Long ones of many sequences; short ones stay."""
  preset = dict(sweep.PRESETS['full'], work=('training',))
  cells = sweep.cells(**preset)
  sizes = {(c.parameters, c.batch_size, c.length) for c in cells}
  assert (1_000_000, 1, 4096) in sizes and (1_000_000, 16, 256) in sizes
  assert (1_000_000, 16, 1024) not in sizes and (25000, 16, 4096) not in sizes


# The claims, by made-up rows.

CPU, GPU = 'cpu AMD EPYC', 'NVIDIA H200'
OTHER = PRIMARY._replace(batch_size=1)
LONG = PRIMARY._replace(length=1024)


def rows(
  of_cells, shares=None, device=GPU, processes=5, others=(), spread=0.01, **more
):
  """Makes up times: {cell: seconds LSTM / seconds attention}."""
  made = []
  rng = np.random.default_rng(0)
  for cell, ratio in of_cells.items():
    for process in range(processes):
      noise = np.exp(spread * rng.standard_normal())
      for name, seconds in (
        ('attention', 1e-3),
        ('lstm', 1e-3 * ratio * noise),
        *((other, 3e-3 * noise) for other in others),
      ):
        below = (shares or {}).get(cell, 1) if name == 'lstm' else 1
        made.append({
          **cell._asdict(), 'work': 'training', 'process': process,
          'pid': 100 + process, 'mixer': name, 'seconds': seconds,
          'round_seconds': (seconds,) * 11, 'share_of_peak': 0.4 / below,
          'suspect': False, 'features': 8, 'mixer_parameters': 100,
          'state_floats': 10, 'needed_bytes': 0, 'device': device, 'cpus': 2,
          'jax': '0.10.2', 'precision': 'float32', 'commit': 'abc',
        } | more)  # fmt: skip
  return made


def checked(*kinds, **changed):
  """Makes up the rows of an exact check."""
  return [
    {
      'work': 'exact', 'mixer': mixer, 'weights': kind, 'positions': length,
      'parameters': 25000, 'training_loss': 0.1, 'device': CPU, 'cpus': 2,
      'jax': '0.10.2', 'precision': 'float32', 'commit': 'abc',
      'iterations': 5, 'converged': True, 'deviation': 1e-6,
    } | (changed if kind == 'trained' else {})
    for mixer in ('lstm', 'gru')
    for kind in kinds or ('random', 'trained')
    for length in (64, 1024)
  ]  # fmt: skip


def judged(made, claim):
  (found,) = [v for v in claims.verdicts(made) if v.id == claim]
  return found


@pytest.mark.parametrize('claim', HARDWARE)
@pytest.mark.parametrize(
  'primary, other, word',
  [
    (3.0, 4.0, SUPPORTED),
    (0.5, 0.9, REFUTED),
    (3.0, 0.5, CONDITIONAL),
    (0.5, 3.0, CONDITIONAL),
    (3.0, None, SUPPORTED),
    (0.5, None, REFUTED),
  ],
)
def test_claims_about_hardware_come_out_each_way(claim, primary, other, word):
  """By the primary cell, and CONDITIONAL where another answers otherwise."""
  cells = {PRIMARY: primary} | ({OTHER: other} if other else {})
  found = judged(rows(cells, shares=cells), claim)
  assert found.verdict == word and found.p < 0.05 / 43
  best = max(cells.values()) if word == REFUTED else primary
  assert found.low <= best * 1.02 and found.high >= best * 0.98
  assert found.quantity and found.unit == 'times' and not found.leans


@pytest.mark.parametrize('claim', HARDWARE)
def test_nothing_is_said_of_gpus_without_one(claim):
  """The same times of a CPU are CONDITIONAL, and the sentence says why."""
  for ratio, word in ((3.0, SUPPORTED), (0.5, REFUTED)):
    cells = {PRIMARY: ratio}
    found = judged(rows(cells, shares=cells, device=CPU), claim)
    assert found.verdict == CONDITIONAL
    assert found.sentence.startswith(f'{word} on this machine; no GPU')


@pytest.mark.parametrize(
  'primary, leans',
  [
    ([0.5, 2.9, 3.0, 3.1, 3.2], 'to SUPPORTED (4 of 5 processes)'),
    ([0.4, 0.4, 0.5, 0.5, 9.0], 'to REFUTED (4 of 5 processes)'),
  ],
)
def test_one_process_that_is_off_leaves_a_claim_open(primary, leans):
  """It leans to the side of the four others."""
  made = rows({PRIMARY: 1.0})
  for row in made:
    if row['mixer'] == 'lstm':
      row['seconds'] = 1e-3 * primary[row['process']]
  found = judged(made, '2.1c')
  assert found.verdict == UNDECIDED and found.leans == leans
  assert found.low < 1.1 < found.high


@pytest.mark.parametrize('ratio', [0.97, 1.0, 1.04])
def test_ties_within_the_margins_refute(ratio):
  """Too small a difference to call slow; at other cells they undo nothing."""
  assert judged(rows({PRIMARY: ratio}), '2.1c').verdict == REFUTED
  mixed = rows({PRIMARY: 3.0, OTHER: 1.17, LONG: 1.19}, spread=0.05)
  found = judged(mixed, '2.1c')
  assert found.verdict == SUPPORTED
  assert 'Of 3 settings with 5 processes it holds in 1 and' in found.sentence


def test_the_cells_that_answer_otherwise_are_named():
  """The rarer answer, by its lengths and sizes."""
  found = judged(rows({PRIMARY: 3.0, OTHER: 0.5, LONG: 4.0}), '2.1c')
  assert found.verdict == CONDITIONAL
  assert (
    'It fails at positions 256 (a block of 1M parameters, batch 1).'
    in found.sentence
  )


def test_missing_rows_are_named_with_the_command_that_makes_them():
  """None, other cells alone, or too few processes."""
  for made, leans in (
    (rows({}), ''),
    (rows({OTHER: 3.0}), 'to SUPPORTED (1 of 1 cells)'),
    (rows({PRIMARY: 0.5}, processes=4), 'to REFUTED (4 of 4 processes)'),
  ):
    found = judged(made, '2.1c')
    assert found.verdict == UNDECIDED and found.leans == leans
    assert '--lengths=256' in found.sentence and 'lstm,attention' in (
      found.sentence
    )
  assert '--work=exact' in judged(rows({}), '2.1a').sentence
  only_one = [r for r in rows({PRIMARY: 3.0}) if r['mixer'] == 'lstm']
  assert {v.verdict for v in claims.verdicts(only_one)} == {UNDECIDED}
  assert 'lstm' in claims.summary(only_one)


def test_the_command_for_missing_rows_makes_the_primary_cell():
  """As it stands in the sentence."""
  sentence = judged(rows({}), '2.1c').sentence
  flags = dict(
    word[2:].split('=') for word in sentence.split() if word[:2] == '--'
  )
  found = folders.find('parallelism')
  given = found.axes('first')
  for name, value in flags.items():
    kind = type(given[name][0])
    given[name] = tuple(map(kind, value.split(',')))
  cells = axes.cells(found, **given)
  assert {Cell(*(getattr(c, f) for f in Cell._fields)) for c in cells} == {
    PRIMARY
  }
  assert len(cells) == 5 and cells[0].mixers == ('lstm', 'attention')


def test_two_machines_in_one_table_are_judged_apart():
  """Each with its name before the scope."""
  made = rows({PRIMARY: 3.0}) + rows({PRIMARY: 0.5}, device=CPU)
  found = folders.find('parallelism').verdicts(made)
  slow = {v.scope.split(',')[0]: v for v in found if v.id == '2.1c'}
  assert slow[GPU].verdict == SUPPORTED and slow[CPU].verdict == CONDITIONAL
  assert 'REFUTED on this machine' in slow[CPU].sentence
  text = claims.summary(made)
  assert GPU in text and CPU in text
  assert 'claim' in report.markdown(found)


def test_one_process_that_played_several_counts_once():
  """Cells that are run in the caller's process have one pid."""
  made = [row | {'pid': 1} for row in rows({PRIMARY: 0.5})]
  (each,) = ratios(made, 'lstm').values()
  assert len(each) == 1 and abs(each[0] / 0.5 - 1) < 0.05
  assert judged(made, '2.1c').verdict == UNDECIDED


def test_suspect_times_are_used_and_said():
  """They do not change the word."""
  made = rows({PRIMARY: 3.0})
  clean = judged(made, '2.1c')
  made[0]['suspect'] = True
  found = judged(made, '2.1c')
  assert found.verdict == clean.verdict and found.effect == clean.effect
  assert '1 of 10 times' in found.sentence
  assert 'suspect' in found.sentence and 'suspect' not in clean.sentence


@pytest.mark.parametrize(
  'changed, word',
  [
    ({}, REFUTED),
    ({'converged': False}, UNDECIDED),
    ({'deviation': math.nan}, UNDECIDED),
    ({'iterations': 63}, CONDITIONAL),
    ({'deviation': 0.1}, UNDECIDED),
    ({'iterations': 1024}, CONDITIONAL),
  ],
)
def test_parallelism_is_judged_by_the_exact_check(changed, word):
  """Newton's method that fails, or takes a step a position, is no parallel."""
  found = judged(checked(**changed), '2.1a')
  assert found.verdict == word and '5 for 64 positions' in found.sentence
  assert ('lstm (trained weights)' in found.sentence) and found.low is not None
  failing = [row | {'converged': False} for row in checked()]
  assert judged(failing, '2.1a').verdict == UNDECIDED
  slow = [row | {'iterations': row['positions'] - 1} for row in checked()]
  assert judged(slow, '2.1a').verdict == SUPPORTED
  alone = judged(checked('random'), '2.1a')
  assert alone.verdict == UNDECIDED and 'with trained weights' in alone.sentence


def test_the_length_at_which_attention_stops_being_faster_is_bracketed():
  """And decoding stands beside it, with what is carried."""
  cells = {PRIMARY._replace(length=n): 64 / n for n in (16, 32, 128, 256)}
  made = rows(cells)
  decoding = [
    row | {'work': 'decoding', 'length': 4096}
    for row in rows({PRIMARY: 0.01}, processes=1)
  ]
  sentence = judged(made + decoding, '2.6').sentence
  assert 'between 32 and 128' in sentence and 'tokens per second' in sentence
  assert '16,000 against' not in sentence and '10 against 10 floats' in sentence


def test_any_mixer_has_the_properties_that_claims_are_about():
  """A line each; of one process without an interval and undecided."""
  made = rows({PRIMARY: 0.5, LONG: 0.5}, others=('mamba2', 'mine'))
  lines = {line['mixer']: line for line in card.cards(made, PRIMARY)}
  assert set(lines) == {'lstm', 'attention', 'mamba2', 'mine'}
  assert lines['mine']['slower'] == 'yes' and lines['lstm']['slower'] == 'no'
  assert lines['mine']['attention is not faster from length'] == 'above 1024'
  assert lines['lstm']['attention is not faster from length'] == 'below 256'
  assert lines['mine']['time / attention'].startswith(('3 [', '2.99', '3.0'))
  once = rows({PRIMARY: 0.5}, processes=1, others=('mine',))
  line = card.card(once, 'mine', PRIMARY)
  assert (
    line['slower'] == 'undecided'
    and '(1 process)' in (line['time / attention'])
  )
  assert 'mamba2' in claims.summary(made)


def test_seconds_to_a_solved_task_need_recalls_steps(tmp_path, monkeypatch):
  """Median steps over seeds times seconds here; else not a word."""
  shape = Cell(25000, 'bare', 32, 129)
  made = rows({shape: 2.0}, processes=1)
  solved = [
    {'mixer': mixer, 'design': 'mixed', 'trained_lag': 128, 'seed': seed,
     'parameters': 25000, 'tested_lag': lag, 'steps_to_solve': steps + seed - 1}
    for mixer, steps in (('lstm', 100), ('attention', 400))
    for seed in range(3)
    for lag in (64, 128)
  ]  # fmt: skip
  monkeypatch.setattr(recalled, 'PATH', tmp_path / 'none.csv')
  assert recalled.seconds(made, ('lstm', 'attention')) == ''
  for kept, said in (
    (solved, 'attention 0.4 s (3 of 3 seeds, to lag 128)'),
    ([row | {'steps_to_solve': None} for row in solved], ''),
    ([row | ({'steps_to_solve': None} if row['seed'] else {})
      for row in solved], ''),
    ([{k: v for k, v in row.items() if k != 'steps_to_solve'}
      for row in solved], ''),
  ):  # fmt: skip
    table.write(kept, tmp_path / 'results.csv')
    monkeypatch.setattr(recalled, 'PATH', tmp_path / 'results.csv')
    sentence = recalled.seconds(made, ('lstm', 'attention'))
    assert said in sentence and bool(said) == bool(sentence)
  table.write(solved, tmp_path / 'results.csv')
  sentence = judged(made, '2.6').sentence
  assert 'lstm 0.2' in sentence and 'attention 0.4 s' in sentence


# The figure.


def test_a_figure_is_drawn_from_tables_of_two_machines(tmp_path):
  """With a cell that did not fit, a suspect time, and an exact check."""
  cells = {
    Cell(parameters, block, 16, length): 1.5
    for parameters in (25000, 1_000_000)
    for block in main.BLOCKS
    for length in (64, 256)
  }
  ours = rows(cells, device=CPU) + checked()
  ours += [row | {'work': 'decoding'} for row in rows(cells, processes=1)]
  theirs = rows(cells)
  theirs[1]['suspect'] = True
  theirs.append(theirs[0] | {
    'mixer': 'tcn', 'seconds': None, 'needed_bytes': 2 * 10**10})  # fmt: skip
  for name, part in (('a', ours), ('b', theirs)):
    table.write(part, tmp_path / f'{name}.csv')
  read = table.read(tmp_path / 'a.csv', tmp_path / 'b.csv')
  plot.draw(read, str(tmp_path / 'figure.svg'))
  text = (tmp_path / 'figure.svg').read_text()
  assert 'Training a block of 1M' in text and 'Decoding, a' in text
  assert 1 <= text.count(f'>{plot.WIDTHS}<') <= plot.PANELS - 1
  assert f'lstm {GPU}' in text and 'suspect' in text
  assert 'attention' in claims.summary(ours)
  assert '20 GB' in claims.summary(theirs)


def test_a_suspect_time_is_hollow(tmp_path):
  """One white marker in the one panel that shows it."""
  made = rows({PRIMARY: 1.5, LONG: 2.0})
  texts = []
  for suspect in (False, True):
    made[0]['suspect'] = suspect
    plot.draw(made, str(tmp_path / 'figure.svg'))
    texts.append((tmp_path / 'figure.svg').read_text())
  assert texts[0] != texts[1]
  assert [plot.NOTE.strip() in text for text in texts] == [False, True]
  assert texts[1].count('fill: #ffffff') > texts[0].count('fill: #ffffff')


@pytest.mark.parametrize(
  'made, title, label',
  [
    (checked(), 'iterations', 'lstm, trained'),
    (
      [r for r in rows({PRIMARY: 2.0, LONG: 2.0}) if r['mixer'] == 'lstm'],
      'time per batch',
      'lstm',
    ),
    (
      [row | {'work': 'decoding'} for row in rows({LONG: 2.0})],
      'token',
      'lstm',
    ),
  ],
)
def test_rows_without_ratios_have_a_figure_too(made, title, label, tmp_path):
  """Of the exact check alone, without attention, of decoding alone."""
  environment = {'jax': '0', 'precision': 'float32', 'commit': 'abc'}
  made = [environment | row for row in made]
  plot.draw(made, str(tmp_path / 'figure.svg'))
  text = (tmp_path / 'figure.svg').read_text()
  assert title in text and label in text


def test_variants_look_like_nothing_else():
  """Neither like each other nor like a mixer, also in black and white."""
  mixers = [plotting.style(name) for name in main.COMPARED if name in MIXERS]
  looks = [*plot.LOOKS.values(), *mixers]
  assert len(set(looks)) == len(looks)
  assert len({(look.dashes, look.marker) for look in looks}) == len(looks)


@pytest.mark.parametrize('bad', [math.nan, None, 0.0])
def test_a_time_that_is_no_number_has_no_ratio(bad):
  """One process fewer, and nothing is lost of the others."""
  made = rows({PRIMARY: 3.0, OTHER: 3.0}, shares={PRIMARY: 3.0, OTHER: 3.0})
  row = next(r for r in made if cell_of(r) == OTHER and r['mixer'] == 'lstm')
  row['seconds'] = row['share_of_peak'] = bad
  assert judged(made, '2.1c').verdict == SUPPORTED
  assert judged(made, '2.1b').verdict == SUPPORTED


def test_an_undecided_primary_contrast_decides_nothing():
  """Whatever two other settings say."""
  made = rows({PRIMARY: 1.17, OTHER: 3.0, LONG: 0.5})
  found = judged(made, '2.1c')
  assert found.verdict == UNDECIDED
