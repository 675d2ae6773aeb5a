"""Names of the tasks: TASKS[name](**options)."""

import functools

from seqjax.errors import Catalog
from seqjax.tasks.chaotic_series import Lorenz, MackeyGlass
from seqjax.tasks.forecasting import Rollout, TauWindow
from seqjax.tasks.gaussian_series import Autoregressive, Sine
from seqjax.tasks.images import PixelSequence, PixelVector
from seqjax.tasks.long_range_arena import (
  ListOpsTexts,
  Papers,
  Pathfinder,
  Reviews,
)
from seqjax.tasks.sentences import Sentences
from seqjax.tasks.synthetic.adding import Adding
from seqjax.tasks.synthetic.agreement import Agreement
from seqjax.tasks.synthetic.automata import RegBench
from seqjax.tasks.synthetic.compression import Compression
from seqjax.tasks.synthetic.copying import (
  CopyMemory,
  LagCopy,
  SelectiveCopying,
)
from seqjax.tasks.synthetic.formal.binary import (
  BinaryAddition,
  BinaryMultiplication,
  SquareRoot,
)
from seqjax.tasks.synthetic.formal.brackets import (
  BracketedModularArithmetic,
  SolveEquation,
)
from seqjax.tasks.synthetic.formal.dyck import Dyck
from seqjax.tasks.synthetic.formal.groups import GroupWord
from seqjax.tasks.synthetic.formal.listops import ListOps
from seqjax.tasks.synthetic.formal.permuting import (
  BucketSort,
  DuplicateString,
  MissingDuplicate,
  OddsFirst,
  ReverseString,
)
from seqjax.tasks.synthetic.formal.regular import (
  CycleNavigation,
  EvenPairs,
  Majority,
  ModularArithmetic,
  Parity,
)
from seqjax.tasks.synthetic.formal.stack_manipulation import StackManipulation
from seqjax.tasks.synthetic.fuzzy_recall import FuzzyRecall
from seqjax.tasks.synthetic.in_context_recall import InContextRecall
from seqjax.tasks.synthetic.induction import InductionHeads, Needle
from seqjax.tasks.synthetic.label_at_position import LabelAtPosition
from seqjax.tasks.synthetic.memorization import Memorization
from seqjax.tasks.synthetic.motifs import HierarchicalMotifs, Motifs
from seqjax.tasks.synthetic.mqar import MQAR, CompositionalMQAR
from seqjax.tasks.synthetic.one_to_many import Oscillator, Unpacking
from seqjax.tasks.synthetic.points import Multiplexer, TwoSpirals
from seqjax.tasks.synthetic.random_labels import RandomLabels
from seqjax.tasks.synthetic.recall import Recall
from seqjax.tasks.synthetic.seen_before import SeenBefore
from seqjax.tasks.synthetic.synonyms import Synonyms
from seqjax.tasks.synthetic.trajectories import (
  TrajectoryDirection,
  TrajectoryNext,
)
from seqjax.tasks.synthetic.transduction import Transduction
from seqjax.tasks.synthetic.translation import Translation
from seqjax.tasks.synthetic.wrappers import FixedTrainingSet, PermutedPositions
from seqjax.tasks.text import Text
from seqjax.tasks.time_series import CSVSeries

TASKS = Catalog(
  'task',
  {
    # Memory.
    'recall': Recall,
    'mqar': MQAR,
    'mqar_overwriting': functools.partial(MQAR, num_overwrites=2),
    'mqar_compositional': CompositionalMQAR,
    'in_context_recall': InContextRecall,
    'noisy_recall': functools.partial(InContextRecall, noise=0.2),
    'fuzzy_recall': FuzzyRecall,
    'induction_heads': InductionHeads,
    'needle': Needle,
    'copy_memory': CopyMemory,
    'selective_copying': SelectiveCopying,
    'compression': Compression,
    'memorization': Memorization,
    'lag_copy': LagCopy,
    'adding': Adding,
    'seen_before': SeenBefore,
    # Structure.
    'motifs': Motifs,
    'hierarchical_motifs': HierarchicalMotifs,
    'label_at_position': LabelAtPosition,
    'permuted_positions': PermutedPositions,
    'fixed_training_set': FixedTrainingSet,
    'synonyms': Synonyms,
    'agreement': Agreement,
    'random_labels': RandomLabels,
    'trajectory_direction': TrajectoryDirection,
    'trajectory_next': TrajectoryNext,
    # One position in.
    'multiplexer': Multiplexer,
    'two_spirals': TwoSpirals,
    'unpacking': Unpacking,
    'oscillator': Oscillator,
    # Formal languages.
    'even_pairs': EvenPairs,
    'modular_arithmetic': ModularArithmetic,
    'parity': Parity,
    'cycle_navigation': CycleNavigation,
    'majority': Majority,
    'bracketed_modular_arithmetic': BracketedModularArithmetic,
    'solve_equation': SolveEquation,
    'missing_duplicate': MissingDuplicate,
    'reverse_string': ReverseString,
    'odds_first': OddsFirst,
    'duplicate_string': DuplicateString,
    'bucket_sort': BucketSort,
    'stack_manipulation': StackManipulation,
    'binary_addition': BinaryAddition,
    'binary_multiplication': BinaryMultiplication,
    'square_root': SquareRoot,
    'dyck': Dyck,
    's3': functools.partial(GroupWord, group='s3'),
    'a5': functools.partial(GroupWord, group='a5'),
    's5': functools.partial(GroupWord, group='s5'),
    'listops': ListOps,
    'regbench': RegBench,
    # Sequences into sequences of another length.
    'transduction_copy': functools.partial(Transduction, operation='copy'),
    'transduction_reverse': functools.partial(
      Transduction, operation='reverse'
    ),
    'transduction_sort': functools.partial(Transduction, operation='sort'),
    'transduction_unique': functools.partial(Transduction, operation='unique'),
    'translation': Translation,
    # Real text.
    'text': Text,
    'text_bytes': functools.partial(Text, level='byte'),
    'lm1b': Sentences,
    'imdb': Reviews,
    'aan': Papers,
    'lra_listops': ListOpsTexts,
    # Series.
    'sine': Sine,
    'autoregressive': Autoregressive,
    'lorenz': Lorenz,
    'mackey_glass': MackeyGlass,
    'csv_series': CSVSeries,
    'tau_window': TauWindow,
    'rollout': Rollout,
    # Images.
    'digits': PixelSequence,
    'digits_vector': PixelVector,
    'mnist': functools.partial(PixelSequence, source='mnist'),
    'permuted_mnist': functools.partial(
      PixelSequence, source='mnist', permuted=True
    ),
    'cifar10': functools.partial(PixelSequence, source='cifar10'),
    'pathfinder': Pathfinder,
    'pathx': functools.partial(Pathfinder, resolution=128),
  },
)
