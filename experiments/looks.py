"""Looks of variants that several experiments draw, the same in every figure.

Mixers of the catalogue have theirs in `seqjax.results.plotting`; a variant that
one experiment alone draws has its look there. Variants of a mixer have its
colour, with dashes and a marker of their own.
"""

from seqjax.results import plotting

SHARED = {
  '5-gram': plotting.look('gold', 'dotted', 'd'),
  'attention (ALiBi)': plotting.look('black', 'dotted', 'v'),
  'attention (learned)': plotting.look('grey', 'dotted', '^'),
  'attention (no positions)': plotting.look('grey', 'dashed', 'P'),
  'attention (sinusoidal)': plotting.look('pink', 'dashed', '<'),
  'deltanet (negative)': plotting.look('purple', 'long', 'h'),
  'elman (relu)': plotting.look('red', 'dotted', '<'),
  'gru (chrono)': plotting.look('sky', 'dash-dot', 'h'),
  'lstm (chrono)': plotting.look('blue', 'long', 'D'),
}
