"""Judges claim T.1: an LSTM copies over the longest lag."""

from seqjax.analysis.statistics import MIN_SCORES, mean_interval
from seqjax.analysis.verdicts import UNDECIDED, Verdict, judge
from seqjax.results import table


def verdicts(rows) -> list[Verdict]:
  """Returns the verdict, from the interval of the mean over seeds."""
  lag = max(row['lag'] for row in rows)
  scores = [r['accuracy'] for r in table.select(rows, mixer='lstm', lag=lag)]
  if len(scores) < MIN_SCORES:
    sentence = f'{MIN_SCORES} seeds of the LSTM are needed at lag {lag}.'
    return [Verdict('T.1', UNDECIDED, sentence, None, None, None, len(scores))]
  mean = mean_interval(scores)
  holds = True if mean.low > 0.9 else False if mean.high < 0.9 else None
  sentence = f'The LSTM copies {mean.value:.2f} of the symbols at lag {lag}.'
  return [Verdict('T.1', judge({'lstm': holds}), sentence, *mean, len(scores))]
