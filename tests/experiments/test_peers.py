"""The benchmark: equal work, medians over processes, bars, failed cells."""

import contextlib
import itertools
import os
import platform

import jax
import jax.numpy as jnp
import pytest

from experiments import folders, reproduce
from experiments.peers import (
  benchmark,
  cases,
  cell,
  contestant,
  decoding_families,
  main,
  medians,
  plot,
  sweep,
)
from seqjax import results
from seqjax.launch import cell_pool, process_environment
from seqjax.nn import MIXERS
from seqjax.results import table

WHERE = {
  'version': 'x 1',
  'device': 'cpu x',
  'cpus': 1,
  'jax': '1',
  'precision': 'float32',
  'commit': 'abc',
  'glibc_tunables': 'none',
  'xla_flags': 'none',
}


def process_row(name: str, seconds: float, **columns):
  """What one process says of one contestant, where ours takes a second."""
  measured = {
    'seconds': seconds,
    'ratio': 1 / seconds,
    'compile_seconds': 1.0,
    'share_of_peak': 0.5,
  }
  where = {
    'case': 'gru-b16-h64',
    'work': 'forward+backward',
    'environment': 'default',
    'cores': 'one',
    'instruction_set': 'AVX-512',
  }
  return {'contestant': name, **where, **WHERE, **measured, **columns}


def process_rows(**columns):
  """Three processes of four contestants."""
  seconds = {
    'seqjax': (1.0, 1.0, 1.0),
    'flax.linen': (1.25, 2.0, 1.0),
    'equinox': (4.0, 1.0, 5.0),
    'torch': (2.0, 2.0, 2.0),
  }
  return [
    process_row(name, s, **columns)
    for name, all in seconds.items()
    for s in all
  ]


@pytest.mark.parametrize('name', cases.QUICK)
def test_all_contestants_compute_the_same(name):
  """Outputs forward; loss and every gradient, read back, with backward."""
  case = cases.QUICK[name]
  makers = case.contestants(case.works[-1], **case.sizes)
  with jax.numpy_rank_promotion('allow'):  # peers do not forbid it
    made = {n: makers[n]() for n in contestant.installed(makers)}
    others = {'jax.lax.scan', 'flax.linen', 'seqjax unmasked'}
    assert 'seqjax' in made and others & set(made)
    contestant.check_same(made)


def test_every_mixer_decodes_in_the_table_of_families():
  """Each is there; two of them are run."""
  sizes = {'batch_size': 2, 'features': 8, 'past': 8, 'tokens': 4}
  made = decoding_families.contestants('decoding', **sizes)
  assert set(made) == {'seqjax', *(f'seqjax {name}' for name in MIXERS)}
  for name in ('seqjax', 'seqjax attention'):
    entry = made[name]()
    outputs = entry.function(*entry.args)
    assert outputs.shape == (4, 2, 8) and jnp.all(jnp.isfinite(outputs))


def test_a_time_of_decoding_is_one_of_a_token(tmp_path):
  """The call is as long as all of its tokens; ratios stay."""

  def made(tokens):
    function = contestant.timing.Eager(jax.jit(lambda x: x @ x))
    entry = contestant.Contestant(function, (jnp.eye(64),), None, tokens=tokens)
    return {contestant.OURS: entry}

  timings = contestant.timing.Timing(1.0, (8.0,) * 11, None, None, None)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(cell.timing, 'compare', lambda *_, **__: {'seqjax': timings})
    for tokens in (1, 4):
      row = cell._times(made(tokens), 11)['seqjax']
      assert (row['seconds'], row['ratio']) == (8.0 / tokens, 1.0)


def test_a_contestant_that_computes_something_else_is_refused():
  """By a thousandth, in another shape, under another name, or NaN."""

  def make(scale, read=lambda y: {'outputs': y}):
    return contestant.Contestant(lambda x: scale * x, (jnp.arange(4.0),), read)

  ours = make(2.0)
  contestant.check_same({'seqjax': ours, 'equal': make(2.00001)})
  for wrong in (
    make(2.002),
    make(jnp.nan),
    make(2.0, lambda y: {'outputs': y[:3]}),
    make(2.0, lambda y: {'gradient': y}),
  ):
    with pytest.raises(ValueError, match='wrong'):
      contestant.check_same({'seqjax': ours, 'wrong': wrong})


def test_a_row_is_the_median_of_processes_with_their_range():
  """Of seconds, and of the ratios of ours to theirs in each process."""
  rows = medians.summarize(process_rows())
  (linen,) = table.select(rows, contestant='flax.linen')
  assert (linen['value'], linen['low'], linen['high']) == (1.25, 1.0, 2.0)
  assert (linen['ratio'], linen['ratio_low']) == (0.8, 0.5)
  assert linen['ratio_high'] == 1.0 and linen['processes'] == 3


def test_bars_are_held_to_the_best_jax_peer_and_to_torch():
  """The best is the one against which ours does worst."""
  rows = {row['contestant']: row for row in medians.summarize(process_rows())}
  assert [rows[n]['opponent'] for n in ('flax.linen', 'torch')] == [
    'JAX',
    'torch',
  ]
  assert rows['equinox']['opponent'] is None and rows['equinox']['bar'] is None
  assert rows['flax.linen']['bar'] == 0.70 and not rows['flax.linen']['met']
  assert rows['flax.linen']['missed_by'] == pytest.approx(0.8 / 0.7 - 1)
  assert rows['torch']['bar'] == 0.55 and rows['torch']['met']
  assert rows['torch']['missed_by'] == 0


@pytest.mark.parametrize(
  'columns, bars',
  [
    ({'cores': 'all'}, 0),
    ({'device': 'NVIDIA H100'}, 0),
    ({'environment': 'tuned'}, 2),
    ({'case': 'lstm-b64-h64'}, 2),
    ({'case': 'lstm-b64-h64', 'environment': 'tuned'}, 1),
    ({'case': 'attention-t1024'}, 2),
    ({'case': 'attention-t1024', 'instruction_set': None}, 0),
  ],
)
def test_bars_hold_on_one_core_of_a_cpu_and_where_they_say(columns, bars):
  """All cores and accelerators stand beside them."""
  rows = medians.summarize(process_rows(**columns))
  assert sum(row['bar'] is not None for row in rows) == bars


def test_instruction_sets_are_held_apart():
  """Medians, bars of their own, and rows from before there were several."""
  sets = ('AVX-512', 'AVX2', None)
  rows = medians.summarize(
    row
    for scale, name in enumerate(sets, 1)
    for row in process_rows(case='attention-t1024', instruction_set=name)
    if row.update(seconds=scale * row['seconds']) is None
  )
  torch = {r['instruction_set']: r for r in rows if r['contestant'] == 'torch'}
  assert {n: r['value'] for n, r in torch.items()} == {
    'AVX-512': 2.0,
    'AVX2': 4.0,
    None: 6.0,
  }
  assert [torch[name]['bar'] for name in sets] == [0.55, 0.75, None]


def test_the_benchmark_has_its_worst_rows_first():
  """One per layer and work, with its instruction set, peer and memory.

  Memory is that of any instruction set, for it was measured with one.
  """
  made = []
  for name, theirs in (('AVX-512', 1.0), ('AVX2', 0.5), (None, 2.0)):
    sizes = {'batch_size': 16, 'features': 64, 'length': 256}
    columns = {'instruction_set': name, **sizes}
    memory = {'resident_bytes': 8, 'resident_ratio': 0.25}
    memory = memory if name == 'AVX2' else {}
    made += [
      process_row('seqjax', 1.0, **columns, **memory),
      process_row('torch', theirs, **columns, **memory),
      process_row('flax.linen', 3 * theirs, **columns),
    ]
  rows = medians.summarize(made)
  every = benchmark.every_line(rows)
  assert [(line.instructions, line.ratio, line.memory) for line in every] == [
    ('AVX2', 2.0, 0.25),
    ('AVX-512', 1.0, 0.25),
    ('unknown', 0.5, 0.25),
  ]
  assert {line.library for line in every} == {'torch'}
  (line,) = benchmark.lines(rows)
  assert line == every[0] and line.task == 'GRU, forward+backward'
  assert line.shape == 'batch 16, 64 features, 256 positions'
  (_, _, cells) = benchmark.markdown([line]).splitlines()
  assert cells.endswith('| AVX2 | torch | 2.00 | 0.25 |')  # of one process
  (_, _, cells) = benchmark.markdown([line._replace(low=1.9)]).splitlines()
  assert cells.endswith('| torch | 2.00 [1.90, 2.00] | 0.25 |')


@pytest.mark.parametrize(
  'name, task, shape',
  [
    ('decoding-gru-b1', 'GRU, decoding', 'batch 1, 256 features'),
    (
      'decoding-attention-b16-p1024',
      'attention, decoding',
      'batch 16, 4 heads of 16, after 1024 positions',
    ),
    (
      'generate-transformer-b1',
      'transformer model, decoding',
      'batch 1, 64 features, prompt of 16 tokens',
    ),
    (
      'training-lstm',
      'LSTM model, training step',
      'batch 64, 64 features, 128 positions',
    ),
    (
      'matrix-delta_rule',
      'delta rule, forward+backward',
      'batch 1, 4 heads of 32, 4096 positions',
    ),
  ],
)
def test_a_case_is_described_in_words(name, task, shape):
  """A cell is named by its layer, its work and its sizes."""
  case = cases.CASES[name]
  columns = dict.fromkeys(('features', 'heads', 'head_size', 'length'))
  row = {'case': name, 'work': case.works[-1]} | columns | {**case.sizes}
  assert (benchmark.task(row), benchmark.shape(row)) == (task, shape)


def test_every_case_beside_another_library_has_a_name():
  """All but those of masks, and of all mixers beside an LSTM."""
  for name, case in cases.CASES.items():
    if not name.startswith(('masks', 'decoding-families')):
      assert benchmark.task({'case': name, 'work': case.works[0]})


def test_every_bar_is_one_of_a_case_that_measures_it():
  """The work is done, and times are asked of cases that are timed."""
  for bar in cases.BARS:
    for case in (cases.CASES[name] for name in bar.cases):
      assert bar.work in case.works
      assert case.timed or bar.quantity == 'resident_bytes'


def test_cells_are_repeated_but_for_memory():
  """Resident memory once a work, natively.

  What is not timed runs no more often.
  """
  configs = sweep.cells(
    cases.FAMILIES, cell.ENVIRONMENTS, cell.CORES, cell.INSTRUCTIONS, 3
  )
  assert len(configs) == len(set(configs))
  for name, case in cases.CASES.items():
    of_case = [config for config in configs if config.case == name]
    works = len(case.works)
    times = 24 if case.timed else 1
    assert len(of_case) == works * (2 if case.once else times)
    measured = [c for c in of_case if c.resident]
    assert len(measured) == works * (not case.once)
    assert {c.instructions for c in measured} <= {'native'}
  few = sweep.cells(['gru'], ['default'], ['one'], ['native'], 1)
  assert {c.case for c in few} == {n for n in cases.CASES if 'gru-' in n[:4]}
  with pytest.raises(ValueError, match="'grru'. Did you mean 'gru'"):
    sweep.cells(['grru'], ['default'], ['one'], ['native'], 1)


def test_one_core_means_one_thread_for_every_library(tmp_path, monkeypatch):
  """The user's flags stay, and the processors are given back."""
  monkeypatch.setenv('XLA_FLAGS', '--xla_foo=1')
  one, many = (
    main.environment_of(cell.Config(cores=cores), tmp_path)
    for cores in cell.CORES
  )
  assert one['XLA_FLAGS'] == '--xla_foo=1 --xla_cpu_multi_thread_eigen=false'
  assert one['OMP_NUM_THREADS'] == '1' and many['XLA_FLAGS'] == '--xla_foo=1'
  if platform.system() == 'Linux':
    before = os.sched_getaffinity(0)
    with main.pinned('all'):
      assert os.sched_getaffinity(0) == before
    with contextlib.suppress(KeyError), main.pinned('one'):
      assert len(os.sched_getaffinity(0)) == 1
      raise KeyError
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize('environment', cell.ENVIRONMENTS)
def test_avx2_is_asked_of_every_library(environment, tmp_path, monkeypatch):
  """Also in the tuned environment, whose vectors are wider elsewhere."""
  monkeypatch.setenv('XLA_FLAGS', '--xla_foo=1')
  monkeypatch.setattr(
    process_environment,
    'for_children',
    lambda given: {'XLA_FLAGS': add_width(given['XLA_FLAGS'])},
  )

  def add_width(flags):
    return process_environment._append(flags, process_environment.FLAGS, ' ')

  config = cell.Config(environment=environment, instructions='AVX2')
  found = main.environment_of(config, tmp_path)
  assert found['XLA_FLAGS'] == (
    '--xla_foo=1 --xla_cpu_max_isa=AVX2 --xla_cpu_prefer_vector_width=256'
  )
  assert found['ATEN_CPU_CAPABILITY'] == 'avx2'
  assert found['ONEDNN_MAX_CPU_ISA'] == 'AVX2'
  assert found['MKL_ENABLE_INSTRUCTIONS'] == 'AVX2'
  if jax.default_backend() == 'cpu':
    assert cell.instruction_set(found) == 'AVX2'
  native = main.environment_of(cell.Config(environment=environment), tmp_path)
  assert 'AVX2' not in str(native.values())


def test_a_processor_without_avx2_is_not_asked_for_it(tmp_path, monkeypatch):
  """One sentence, before anything starts; and no axis of two values."""
  known = {'name': 'old', 'instruction_set': 'SSE2'}
  monkeypatch.setattr(main.processor, 'processor', lambda: known)
  with pytest.raises(ValueError, match='needs a processor that has AVX2.*SSE2'):
    main.run(cell.Config(instructions='AVX2'), str(tmp_path / 'cell'))
  assert not (tmp_path / 'cell').exists()
  assert sweep.instructions() == ('native',)
  if jax.default_backend() == 'cpu':
    assert cell.instruction_set({}) == 'SSE2'


def test_the_default_environment_has_nothing_of_the_tuned_one(tmp_path):
  """Although the job that starts the cell runs in the tuned one itself."""
  given = {'XLA_FLAGS': '--xla_foo=1', 'A': 'b'}
  tuned = given | process_environment.for_children(given)
  assert process_environment.without(tuned) == given
  assert process_environment.without({'A': 'b'}) == {'A': 'b'}


def test_a_failed_cell_is_listed_and_the_others_are_kept(tmp_path, monkeypatch):
  """And the table of the cells that finished is drawn."""
  good = cell.Config('quick_elman-b16-h64', cores='one')
  bad = cell.Config('quick_elman-b16-h64', work='forwards')
  found = folders.find('peers')
  job = reproduce.Job(found, [bad, good], tmp_path)
  monkeypatch.setattr(reproduce.cell_pool, 'run', in_this_process)
  ((folder, why),) = reproduce.run_cells(job)
  assert 'forwards' in folder and "Did you mean 'forward'" in why
  job = job._replace(configs=[good])
  said = reproduce.publish(job, tmp_path / 'to')
  assert '0 of 0 bars' in said and 'flax.' in said
  rows = table.read(tmp_path / 'to' / 'results.csv')
  assert rows[0]['value'] > 0 and rows[0]['cpus'] == 1
  plot.draw(rows, str(tmp_path / 'again.svg'))  # from the table alone
  folder = job.folder(good)
  assert results.finished(folder, good) is not None
  before = (folder / 'summary.json').read_bytes()
  assert reproduce.run_cells(job) == []
  assert before == (folder / 'summary.json').read_bytes()


def in_this_process(call, groups, *, processes, apart):
  """Stands in for `cell_pool.run`, without the time that processes take."""
  for part in itertools.chain(*groups):
    yield part, cell_pool.attempt(call, part)


def test_the_memory_of_a_call_is_prepared_without_the_others():
  """A function without arguments, whose outputs can be waited for."""
  for name in contestant.installed(['seqjax', 'torch']):
    call = cell.prepared('quick_elman-b16-h64', 'forward', name)
    (y,) = jax.tree.leaves(jax.block_until_ready(call()))
    assert y.shape == (2, 16, 8) and jnp.any(y != 0)
