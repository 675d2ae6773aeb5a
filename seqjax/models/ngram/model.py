"""A counting language model: tables of what was seen, weights for the rest."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from seqjax.models import checks
from seqjax.models.ngram.counts import Stream, find, flatten
from seqjax.ops.segments import from_lengths
from seqjax.typing import Array, Segments


class Table(NamedTuple):
  """The n-grams of one length as a model keeps them.

  Attributes:
    keys: of the E n-grams that were seen, as in `Counts`, sorted.
    probs: p(last token | those before) of each.
    weights: one for each of the C n-grams one shorter, what a token that was
      not seen after it is worth.
  """

  keys: Int[Array, 'E']
  probs: Float[Array, 'E']
  weights: Float[Array, 'C']


@dataclasses.dataclass(frozen=True, eq=False)
class NGram:
  """p(token | the order - 1 tokens before it), from counts.

  With h a context and h' the same without its first token,

      p(w | h) = probs[hw]                    if hw was seen,
                 weights[h] * p(w | h')       otherwise,

  where an unseen h has the weight 1, and after the empty context comes 1/vocab.
  Every smoothing can be written so (it is the ARPA format's rule), and each is
  a function in `seqjax.models.ngram.smoothing` that fills the tables. Near the
  beginning of a segment, the context is what there is of it: the first token is
  predicted from none. All arithmetic is NumPy's, in float64.

  Attributes:
    vocab: V; tokens are 0..V - 1.
    tables: of n-grams of length 1, 2, ... order.
    backs_off: whether p(w | h') is as above; otherwise 1/vocab stands for it at
      every length (additive smoothing).
  """

  vocab: int
  tables: tuple[Table, ...]
  backs_off: bool = True

  @property
  def order(self) -> int:
    return len(self.tables)

  @property
  def num_entries(self) -> int:
    """The number of n-grams stored, of all lengths."""
    return sum(len(table.keys) for table in self.tables)

  @property
  def num_bytes(self) -> int:
    """The size of what is stored: keys, probabilities and weights."""
    return sum(array.nbytes for table in self.tables for array in table)

  def log_prob(
    self, tokens: Int[Array, 'B T'], segments: Segments | None = None
  ) -> Float[Array, 'B T']:
    """Returns log p(x_t | x_<t) of every token, within its segment.

    Natural logarithms; -inf where the model says impossible, 0 at padding.

    Raises:
      ValueError: tokens are no integers [B T], or a valid one lies outside the
        vocabulary.
    """
    valid, stream = flatten(tokens, segments, self.vocab)
    contexts = self._contexts(stream)
    result = np.zeros(tokens.shape)
    result[valid] = _log(self._probs(contexts, stream.past, stream.tokens))
    return result

  def log_probs(
    self,
    context: Int[Array, 'B T'],
    context_lengths: Int[Array, 'B'] | None = None,
  ) -> Float[Array, 'B V']:
    """Returns the log-probability of every token to come next.

    Args:
      context: what stands before it, oldest first; T may be 0.
      context_lengths: how many of the T tokens count, from the first; all of
        them if None.
    """
    contexts, past = self._after(context, context_lengths)
    return self._next(contexts, past)

  def sample(
    self,
    key: jax.Array,
    prompt: Int[Array, 'B T'],
    num_tokens: int,
    *,
    prompt_lengths: Int[Array, 'B'] | None = None,
    temperature: float = 1.0,
  ) -> Int[Array, 'B num_tokens']:
    """Continues every row by tokens drawn one after the other.

    Args:
      key: seeds NumPy's generator.
      prompt: what to continue; T may be 0.
      num_tokens: how many tokens to draw for each row.
      prompt_lengths: as in `log_probs`; a row goes on where its prompt ends.
      temperature: divides the log-probabilities; 0 takes the likeliest token.

    Raises:
      ValueError: a temperature that is negative or not finite, no token to
        draw, or what `log_probs` refuses.
    """
    checks.num_steps(num_tokens)
    checks.temperature(temperature)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    contexts, past = self._after(prompt, prompt_lengths)
    drawn = np.empty((len(prompt), num_tokens), np.int32)
    for t in range(num_tokens):
      drawn[:, t] = _draw(rng, self._next(contexts, past), temperature)
      contexts, past = self._read(contexts, drawn[:, t]), past + 1
    return drawn

  def _contexts(self, stream: Stream) -> list[Int[Array, 'M']]:
    """For n = 0 to order - 1: the id of the n tokens before each token.

    Where its segment has fewer, the id is none of them and means nothing.
    """
    contexts = [np.zeros(len(stream.tokens), np.int64)]
    for table in self.tables[:-1]:
      ids = find(table.keys, contexts[-1], stream.tokens, self.vocab)
      contexts.append(np.roll(ids, 1))
    return contexts

  def _after(self, rows, lengths):
    """Returns the contexts of what follows each row, and its length so far."""
    checks.rows(rows)
    batch_size, num_positions = rows.shape
    if lengths is None:
      lengths = np.full(batch_size, num_positions)
    before = from_lengths(lengths, num_positions)
    valid = np.pad(before.valid, ((0, 0), (1, 0)), constant_values=True)
    # One more token ends each row: its context is what we want, not itself.
    rows = np.where(before.valid, rows, 0)
    rows = np.pad(rows, ((0, 0), (0, 1)))
    segments = Segments(np.zeros_like(valid), valid)
    _, stream = flatten(rows, segments, self.vocab)
    last = np.cumsum(np.asarray(lengths) + 1) - 1
    contexts = [ids[last] for ids in self._contexts(stream)]
    return contexts, stream.past[last]

  def _read(self, contexts, tokens):
    """Returns the contexts one token later."""
    longer = (
      find(table.keys, ids, tokens, self.vocab)
      for table, ids in zip(self.tables[:-1], contexts[:-1], strict=True)
    )
    return [contexts[0], *longer]

  def _next(self, contexts, past) -> Float[Array, 'B V']:
    """Log-probabilities of all tokens after each context."""
    contexts = [ids[:, None] for ids in contexts]
    every = np.arange(self.vocab)[None]
    return _log(self._probs(contexts, past[:, None], every))

  def _probs(self, contexts, past, tokens):
    """Applies the class's equation, from the empty context to the longest."""
    uniform = 1 / self.vocab
    probs = uniform
    for n, (table, ids) in enumerate(zip(self.tables, contexts, strict=True)):
      shorter = probs if self.backs_off else uniform
      found = find(table.keys, ids, tokens, self.vocab)
      weights = np.where(ids >= 0, table.weights[ids], 1.0)
      longer = np.where(found >= 0, table.probs[found], weights * shorter)
      probs = np.where(past >= n, longer, probs)
    return probs


def _log(probs: Float[Array, '*shape']) -> Float[Array, '*shape']:
  with np.errstate(divide='ignore'):
    return np.log(probs)


def _draw(rng, log_probs, temperature: float) -> Int[Array, 'B']:
  """Samples a token per row: the maximum of log p plus Gumbel noise."""
  if temperature == 0:
    return np.argmax(log_probs, axis=1)
  noise = rng.gumbel(size=log_probs.shape)
  return np.argmax(log_probs / temperature + noise, axis=1)
