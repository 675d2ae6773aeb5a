"""Beam search against all sequences, scored one by one on whole sequences."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.models import Seq2Seq, SequenceModel, beam_search, generate
from seqjax.nn import GRU, LSTM, Attention, Bidirectional, Elman
from seqjax.ops import segments as segments_lib
from seqjax.ops.sampling import NO_TOKEN
from seqjax.typing import Spec

V, N = 3, 4
TOKENS, VALUES = Spec((), V), Spec((2,))
KEY = jax.random.key(0)
PROMPT, LENGTHS = np.array([[1, 2, 0], [2, 0, 0]]), np.array([3, 1])
SOURCE = np.random.default_rng(1).normal(size=(2, 4, 2)).astype('f')
SOURCE_LENGTHS = np.array([4, 2])
MODELS = {
  'lstm': SequenceModel(TOKENS, TOKENS, (LSTM(8),)),
  'attention': SequenceModel(TOKENS, TOKENS, (Attention(8, 16),)),
  'seq2seq': Seq2Seq(
    VALUES,
    TOKENS,
    (Bidirectional(8, mixer=GRU(8)),),
    (Attention(8, 16),),
    'dot',
  ),
}


def random_variables(model, x, scale=1.0):
  """Large enough for outputs to differ from position to position."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(model.init, KEY, x)
  return jax.tree.map(
    lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype),
    shapes,
  )


def source_of(model) -> dict:
  if isinstance(model, SequenceModel):
    return {}
  segments = segments_lib.from_lengths(SOURCE_LENGTHS, SOURCE.shape[1])
  return {'source': jnp.asarray(SOURCE), 'source_segments': segments}


def whole(model, variables, row, sequences):
  """Log-probabilities of every token of the sequences, after a row's prompt."""
  begin = PROMPT[row, : LENGTHS[row]]
  prompts = np.broadcast_to(begin, (len(sequences), len(begin)))
  inputs = jnp.asarray(np.concatenate([prompts, sequences], 1)[:, :-1])
  if isinstance(model, Seq2Seq):
    source = SOURCE[row, : SOURCE_LENGTHS[row]]
    source = np.broadcast_to(source, (len(sequences), *source.shape))
    inputs = jnp.asarray(source), inputs
  logits = jax.jit(model.apply)(variables, inputs)[:, len(begin) - 1 :]
  logits = np.asarray(logits, np.float64)
  logits -= np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
  return np.take_along_axis(logits, sequences[..., None], axis=-1)[..., 0]


@functools.cache
def case(name):
  """A model, its parameters, and log p(last token | others) by prefix."""
  model = MODELS[name]
  inputs = jnp.asarray(PROMPT)
  if isinstance(model, Seq2Seq):
    inputs = jnp.asarray(SOURCE), inputs
  variables = random_variables(model, inputs)
  sequences = np.array(list(itertools.product(range(V), repeat=N)))
  tables = []
  for row in range(2):
    log_probs = whole(model, variables, row, sequences)
    tables.append(
      {
        tuple(sequence[: n + 1].tolist()): log_prob[n]
        for sequence, log_prob in zip(sequences, log_probs, strict=True)
        for n in range(N)
      }
    )
  return model, variables, tables


def score(table, tokens, alpha):
  total = sum(table[tokens[: n + 1]] for n in range(len(tokens)))
  return total / ((5 + len(tokens)) / 6) ** alpha


def ended(tokens, stop):
  """The tokens up to the first that stops them."""
  return tokens[: tokens.index(stop) + 1] if stop in tokens else tokens


def padded(tokens, pad):
  return tokens + (pad,) * (N - len(tokens))


def search(name, beams, stop, alpha, pad=0):
  model, variables, _ = case(name)
  return jax.tree.map(np.asarray, beam_search(
    model,
    variables,
    jnp.asarray(PROMPT),
    N,
    beams=beams,
    prompt_lengths=jnp.asarray(LENGTHS),
    length_penalty=alpha,
    stop_token=stop,
    pad_token=pad,
    **source_of(model),
  ))  # fmt: skip


@pytest.mark.parametrize('stop', [None, 0, 2])
@pytest.mark.parametrize('name', MODELS)
def test_all_beams_are_all_sequences(name, stop):
  """In the order of their scores, under any penalty, after any prompt."""
  _, _, tables = case(name)
  for alpha in (0.0, 0.6, 2.5):
    tokens, scores = search(name, V**N, stop, alpha, pad=1)
    for row, table in enumerate(tables):
      every = itertools.product(range(V), repeat=N)
      expected = {
        padded(h, 1): score(table, h, alpha)
        for h in {ended(tokens, stop) for tokens in every}
      }
      count = len(expected)
      given = dict(
        zip(map(tuple, tokens[row, :count].tolist()), scores[row], strict=False)
      )
      assert given.keys() == expected.keys()
      np.testing.assert_allclose(
        *zip(*((given[h], expected[h]) for h in given), strict=True), rtol=1e-4
      )
      assert np.all(np.diff(scores[row, :count]) <= 0)
      assert tuple(tokens[row, 0]) == max(expected, key=expected.get)
      assert np.all(scores[row, count:] == -np.inf)
      assert np.all(tokens[row, count:] == NO_TOKEN)


def few(table, beams, stop, alpha):
  """The search with few beams, on tuples."""
  kept = [()]
  for _ in range(N):
    longer = []
    for tokens in kept:
      if tokens[-1:] == (stop,):
        longer.append(tokens)
      else:
        longer += [(*tokens, token) for token in range(V)]
    longer.sort(key=lambda tokens: -score(table, tokens, alpha))
    kept = longer[:beams]
  return [padded(tokens, 0) for tokens in kept]


@pytest.mark.parametrize('beams', [2, 5])
@pytest.mark.parametrize('name', MODELS)
def test_few_beams_are_the_best_after_every_token(name, beams):
  """Ended hypotheses compete with the others; more beams than tokens, too."""
  found = set()
  for stop, alpha in itertools.product((None, 0, 1, 2), (0.0, 0.6, 2.5)):
    tokens, _ = search(name, beams, stop, alpha)
    for row, table in enumerate(case(name)[2]):
      expected = few(table, beams, stop, alpha)
      assert list(map(tuple, tokens[row].tolist())) == expected
      found |= set(expected)
  assert len(found) > beams


@pytest.mark.parametrize('name', MODELS)
def test_one_beam_is_greedy(name):
  """With a stop token and without."""
  model, variables, _ = case(name)
  for stop in (None, 0, 1, 2):
    tokens, scores = search(name, 1, stop, 0.0)
    greedy = generate(
      model,
      variables,
      KEY,
      jnp.asarray(PROMPT),
      N,
      prompt_lengths=jnp.asarray(LENGTHS),
      temperature=0.0,
      stop_token=stop,
      **source_of(model),
    )
    np.testing.assert_array_equal(tokens[:, 0], greedy)
    for row, table in enumerate(case(name)[2]):
      best = ended(tuple(tokens[row, 0].tolist()), stop)
      np.testing.assert_allclose(scores[row, 0], score(table, best, 0), 1e-4)


def test_carries_grow_and_follow_their_hypotheses():
  """Scores are those of the whole sequences, after 32 slots and 64, too."""
  spec = Spec((), 7)
  model = SequenceModel(spec, spec, (Elman(8), Attention(8, 128)))
  prompt = jnp.asarray([[1, 2, 3], [4, 0, 0]])
  lengths = np.array([3, 1])
  variables = random_variables(model, prompt, 0.5)
  search = functools.partial(
    beam_search, model, variables, prompt, 70, prompt_lengths=lengths
  )
  tokens, scores = jax.tree.map(np.asarray, search(beams=3))
  assert len(np.unique(tokens)) > 2
  for row, length in enumerate(lengths):
    assert len({tuple(h) for h in tokens[row].tolist()}) == 3
    begin = np.broadcast_to(prompt[row, :length], (3, length))
    inputs = np.concatenate([begin, tokens[row]], axis=1)[:, :-1]
    logits = jax.jit(model.apply)(variables, jnp.asarray(inputs))
    log_probs = jax.nn.log_softmax(logits[:, length - 1 :])
    chosen = np.take_along_axis(
      np.asarray(log_probs), tokens[row][..., None], axis=-1
    )
    np.testing.assert_allclose(scores[row], chosen.sum((1, 2)), rtol=1e-4)
  greedy = generate(
    model, variables, KEY, prompt, 70, prompt_lengths=lengths, temperature=0.0
  )
  np.testing.assert_array_equal(search(beams=1).tokens[:, 0], greedy)


TRACES = []


class Traced(Elman):
  """Says how often its step was traced."""

  def step(self, carry, x_t):
    TRACES.append(1)
    return super().step(carry, x_t)


def test_no_other_value_compiles_the_search_anew(untyped):
  """Penalty, stop token and padding vary, as Python's numbers and NumPy's."""
  model = SequenceModel(TOKENS, TOKENS, (Traced(8),))
  prompt = jnp.asarray(PROMPT)
  variables = random_variables(model, prompt)
  search = functools.partial(beam_search, model, variables, prompt, N, beams=2)
  search(stop_token=1, length_penalty=0)
  count = len(TRACES)
  search(stop_token=2, length_penalty=0.7, pad_token=2)
  search(stop_token=np.int64(0), length_penalty=np.float32(1))
  assert len(TRACES) == count


def test_hypotheses_without_numbers_come_last():
  """Token 2 cannot be read: what follows it is NO_TOKEN, its score is NaN."""
  model = SequenceModel(TOKENS, TOKENS, (Elman(8),))
  prompt = jnp.array([[1]])
  variables = random_variables(model, prompt)
  table = variables['params']['embedding']
  table['embedding'] = table['embedding'].at[2].set(jnp.nan)
  tokens, scores = beam_search(model, variables, prompt, N, beams=V**N)
  tokens, scores = np.asarray(tokens[0]), np.asarray(scores[0])
  whole = 2 ** (N - 1) * 3  # no 2 before the last token
  lost = 1 + 2 + 4
  assert np.all(np.isfinite(scores[:whole]))
  assert np.all(np.diff(scores[:whole]) <= 0)
  assert not np.any(tokens[:whole, :-1] == 2)
  assert np.all(np.isnan(scores[whole : whole + lost]))
  for hypothesis in tokens[whole : whole + lost].tolist():
    end = hypothesis.index(2) + 1
    assert 2 > max(hypothesis[: end - 1], default=0)
    assert hypothesis[end:] == [NO_TOKEN] * (N - end) and end < N
  assert np.all(scores[whole + lost :] == -np.inf)
  greedy = generate(model, variables, KEY, prompt, N, temperature=0.0)
  one, _ = beam_search(model, variables, prompt, N, beams=1)
  np.testing.assert_array_equal(one[:, 0], greedy)


def test_past_learned_positions_there_is_no_token():
  """The best tokens before it stay the first."""
  attention = Attention(8, 5, positions='learned')
  model = SequenceModel(TOKENS, TOKENS, (attention,))
  prompt = jnp.array([[1, 2]])
  variables = random_variables(model, prompt)
  within, _ = beam_search(model, variables, prompt, 4, beams=3)
  beyond, scores = beam_search(model, variables, prompt, 6, beams=3)
  np.testing.assert_array_equal(beyond[..., :4], within)
  assert np.all(beyond[..., 4:] == NO_TOKEN) and np.all(np.isnan(scores))


def test_a_token_of_probability_zero_is_in_no_hypothesis():
  """Whatever the number of beams."""
  model = SequenceModel(TOKENS, TOKENS, (Elman(8),))
  prompt = jnp.array([[1]])
  variables = random_variables(model, prompt)
  bias = variables['params']['readout']
  bias['bias'] = bias['bias'].at[2].set(-jnp.inf)
  tokens, scores = beam_search(model, variables, prompt, N, beams=V**N)
  assert np.all(np.isfinite(scores[0, : 2**N])) and not np.any(tokens == 2)
  assert np.all(scores[0, 2**N :] == -np.inf)
  assert np.all(tokens[0, 2**N :] == NO_TOKEN)


@pytest.mark.parametrize(
  'options, sentence',
  [
    ({'beams': 0}, 'at least 1, but beams=0 was given; set'),
    ({'beams': 2.5}, 'a whole number.*beams=2.5'),
    ({'length_penalty': -0.5}, 'length_penalty is 0.*-0.5 was given'),
    ({'length_penalty': np.float32(np.nan)}, 'length_penalty is 0.*nan'),
    ({'length_penalty': np.inf}, 'and finite, but length_penalty=inf'),
    ({'stop_token': V}, r'one of the tokens 0\.\.2, but 3'),
    ({'num_tokens': 0}, 'At least 1 step'),
    ({'prompt_lengths': np.array([0, 3])}, r'2 numbers in 1..3.*\[0, 3\]'),
    ({'source': SOURCE}, 'SequenceModel takes no source='),
    ({'model': SequenceModel(TOKENS, VALUES, (GRU(8),))}, 'use rollout'),
    ({'model': GRU(8)}, 'GRU cannot go on'),
  ],
)
def test_bad_options_get_a_sentence(options, sentence, untyped):
  """Before anything is compiled."""
  arguments = {
    'model': MODELS['lstm'],
    'variables': {},
    'prompt': PROMPT,
    'num_tokens': N,
    'beams': 2,
  }
  with pytest.raises(ValueError, match=sentence):
    beam_search(**(arguments | options))
