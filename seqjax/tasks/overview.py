"""The catalogue of tasks as a page: shape, chance, ceiling, source, example."""

import inspect
import re
from itertools import takewhile

from seqjax.tasks.catalog import TASKS

HEADER = ('task', 'shape', 'score', 'chance', 'ceiling', 'source')

OURS = 'here'
CHOMSKY = 'Delétang et al., 2023'
SOURCES = {
  'recall': OURS,
  'mqar': 'Arora et al., 2023',
  'mqar_overwriting': 'Arora et al., 2023',
  'mqar_compositional': OURS,
  'induction_heads': 'Fu et al., 2023',
  'needle': 'Kamradt, 2023',
  'copy_memory': 'Arjovsky et al., 2016',
  'selective_copying': 'Gu & Dao, 2023',
  'lag_copy': OURS,
  'adding': 'Hochreiter & Schmidhuber, 1997',
  'seen_before': OURS,
  'motifs': OURS,
  'hierarchical_motifs': 'Cagnetta et al., 2024',
  'label_at_position': OURS,
  'permuted_positions': 'Le et al., 2015',
  'fixed_training_set': OURS,
  'synonyms': OURS,
  'agreement': 'Linzen et al., 2016',
  'random_labels': 'Zhang et al., 2017',
  'trajectory_direction': OURS,
  'trajectory_next': OURS,
  'multiplexer': 'Wilson, 1987',
  'two_spirals': 'Lang & Witbrock, 1988',
  'unpacking': OURS,
  'oscillator': OURS,
  'even_pairs': CHOMSKY,
  'modular_arithmetic': CHOMSKY,
  'parity': CHOMSKY,
  'cycle_navigation': CHOMSKY,
  'majority': 'Merrill et al., 2022',
  'bracketed_modular_arithmetic': CHOMSKY,
  'solve_equation': CHOMSKY,
  'missing_duplicate': CHOMSKY,
  'reverse_string': CHOMSKY,
  'odds_first': CHOMSKY,
  'duplicate_string': CHOMSKY,
  'bucket_sort': CHOMSKY,
  'stack_manipulation': CHOMSKY,
  'binary_addition': CHOMSKY,
  'binary_multiplication': CHOMSKY,
  'square_root': CHOMSKY,
  'dyck': 'Hewitt et al., 2020',
  's3': 'Merrill et al., 2024',
  'a5': 'Merrill et al., 2024',
  's5': 'Merrill et al., 2024',
  'listops': 'Nangia & Bowman, 2018',
  'transduction_copy': 'Sutskever et al., 2014',
  'transduction_reverse': 'Sutskever et al., 2014',
  'transduction_sort': 'Sutskever et al., 2014',
  'transduction_unique': 'Sutskever et al., 2014',
  'translation': OURS,
  'text': 'any file or folder',
  'text_bytes': 'any file or folder',
  'lm1b': 'Chelba et al., 2013',
  'sine': OURS,
  'autoregressive': OURS,
  'lorenz': 'Lorenz, 1963',
  'mackey_glass': 'Mackey & Glass, 1977',
  'csv_series': 'any CSV file',
  'tau_window': OURS,
  'rollout': OURS,
  'digits': 'scikit-learn',
  'digits_vector': 'scikit-learn',
  'mnist': 'LeCun et al., 1998',
  'permuted_mnist': 'Le et al., 2015',
  'cifar10': 'Krizhevsky, 2009',
}

# What the files say that the task reads, on the machine at hand.
OF_FILES = {
  'text': 'unigram entropy',
  'text_bytes': 'unigram entropy',
  'lm1b': 'unigram entropy',
  'mnist': 'largest class',
  'permuted_mnist': 'largest class',
  'cifar10': 'largest class',
  'csv_series': '1',
}


def table() -> list[tuple[str, ...]]:
  """HEADER, and a row for every entry of the catalogue at its defaults."""
  return [HEADER, *map(_row, TASKS)]


def markdown() -> str:
  """The table, and below it what every task asks, with an example."""
  header, *rows = table()
  lines = [header, ('---',) * len(header), *rows]
  body = '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
  return '\n\n'.join([body, *map(_section, TASKS)]) + '\n'


def _row(name):
  task = TASKS[name]()
  chance = OF_FILES[name] if name in OF_FILES else _number(task.chance)
  return (
    f'[`{name}`](#{name})',
    task.shape.value,
    task.metric.value,
    chance,
    _number(task.ceiling),
    SOURCES[name],
  )


def _number(value: float | None) -> str:
  return 'unknown' if value is None else f'{value:.4g}'


def _section(name):
  doc = inspect.getdoc(type(TASKS[name]()))
  summary, *_ = doc.split('\n')
  return '\n\n'.join([f'## {name}', summary, *_example(doc)])


def _example(doc: str) -> list[str]:
  """The drawing of inputs over targets, as a block of code."""
  drawn = re.search(r'^ *(\w+ +)?(inputs?|source|series) .*', doc, re.MULTILINE)
  if drawn is None:
    return []
  lines = takewhile(str.strip, doc[drawn.start() :].split('\n'))
  return ['```\n' + inspect.cleandoc('\n'.join(['', *lines])) + '\n```']
