"""What models go on with by themselves, against whole sequences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.models import Classifier, MLPClassifier, Stack
from seqjax.models import generation as generation_lib
from seqjax.models import prompt as prompt_lib
from seqjax.models.generation import generate, rollout
from seqjax.models.seq2seq import Seq2Seq
from seqjax.models.sequence_model import SequenceModel
from seqjax.nn import (
  GRU,
  LSTM,
  MIXERS,
  Attention,
  Bidirectional,
  Elman,
)
from seqjax.ops import segments as segments_lib
from seqjax.ops.sampling import NO_TOKEN
from seqjax.typing import Spec

TOKENS, VALUES = Spec((), 7), Spec((2,))
KEY = jax.random.key(0)


def random_variables(model, x):
  """Large enough for outputs to differ from position to position."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(model.init, KEY, x)
  return jax.tree.map(
    lambda leaf: jnp.asarray(
      np.asarray(rng.normal(size=leaf.shape) / 2, leaf.dtype)
    ),
    shapes,
  )


def greedy(outputs, prompt, lengths, num_tokens):
  """The likeliest token of whole sequences, one row after the other."""
  rows = np.zeros((len(prompt), prompt.shape[1] + num_tokens), np.int32)
  rows[:, : prompt.shape[1]] = prompt
  lengths = np.array(lengths)
  for _ in range(num_tokens):
    segments = segments_lib.from_lengths(lengths, rows.shape[1])
    logits = outputs(jnp.asarray(rows), segments)
    every = np.arange(len(rows))
    rows[every, lengths] = np.argmax(logits[every, lengths - 1], axis=-1)
    lengths += 1
  return [row[n - num_tokens : n] for row, n in zip(rows, lengths, strict=True)]


def test_greedy_tokens_are_those_of_whole_sequences():
  """Through all stages, beyond the context, and after prompts of any length."""
  model = SequenceModel(TOKENS, TOKENS, (Elman(8), Attention(8, 40)))
  prompt = np.array([[1, 2, 3, 4], [5, 6, 0, 0], [3, 0, 0, 0]])
  lengths = [4, 2, 1]
  variables = random_variables(model, jnp.asarray(prompt))
  given = generate(
    model,
    variables,
    KEY,
    jnp.asarray(prompt),
    50,
    prompt_lengths=jnp.asarray(lengths),
    temperature=0.0,
  )
  outputs = jax.jit(lambda x, segments: model.apply(variables, x, segments))
  expected = greedy(outputs, prompt, lengths, 50)
  np.testing.assert_array_equal(given, expected)
  assert len(np.unique(given)) > 2


def test_a_seq2seq_writes_what_it_would_have_read():
  """Greedy tokens are the likeliest under `__call__`, stage by stage.

  The encoder's context is longer than that of the first stages, and counts.
  """
  model = Seq2Seq(
    VALUES, TOKENS, (Attention(8, 48),), (Attention(8, 64),), 'dot'
  )
  source = jax.random.normal(KEY, (2, 50, 2))
  segments = segments_lib.from_lengths(jnp.array([50, 3]), 50)
  begin = jnp.zeros((2, 1), jnp.int32)
  variables = random_variables(model, (source, begin))
  given = generate(
    model,
    variables,
    KEY,
    begin,
    40,
    source=source,
    source_segments=segments,
    temperature=0.0,
  )

  def outputs(x, target_segments):
    return model.apply(variables, (source, x), (segments, target_segments))

  expected = greedy(jax.jit(outputs), np.zeros((2, 1)), [1, 1], 40)
  np.testing.assert_array_equal(given, expected)


def test_contexts_double_from_stage_to_stage():
  """No more compiled loops than log2 of the context, and one; hybrids too."""
  model = SequenceModel(TOKENS, TOKENS, (GRU(8, 256), Attention(8, 256)))

  def plan(model, filled, num_steps):
    x_t = jnp.zeros((1,), jnp.int32)
    variables = random_variables(model, x_t[None])

    def first_step(model):
      carry = model.initialize_carry(1)
      return model.apply(variables, carry, x_t, method='step')

    stages = generation_lib.stages(
      model, first_step, filled=filled, num_steps=num_steps
    )
    return [(s.model.mixers[-1].context, s.num_steps) for s in stages]

  assert plan(model, 2, 30) == [(32, 30)]
  assert plan(model, 2, 300) == [(32, 30), (64, 32), (128, 64), (256, 174)]
  assert plan(model, 40, 30) == [(64, 24), (128, 6)]
  assert plan(model, 400, 30) == [(256, 30)]
  recurrent = SequenceModel(TOKENS, TOKENS, (GRU(8, 256),))
  assert plan(recurrent, 2, 300) == [(256, 300)]


def stages_of(model, filled, num_steps):
  """The plan after so many positions, and what is filled before each stage."""
  x_t = jnp.zeros((1,), jnp.int32)
  variables = jax.eval_shape(model.init, KEY, x_t[None])

  def first_step(model):
    carry = model.initialize_carry(1)
    return jax.eval_shape(
      lambda variables: model.apply(variables, carry, x_t, method='step'),
      variables,
    )

  for stage in generation_lib.stages(
    model, first_step, filled=filled, num_steps=num_steps
  ):
    yield stage, filled
    filled += stage.num_steps


@pytest.mark.parametrize('filled', [0, 5, 31, 32, 100, 511])
def test_a_token_costs_at_most_twice_what_is_filled(filled):
  """A stage begins with half its slots filled, or is the smallest there is."""
  model = SequenceModel(TOKENS, TOKENS, (Attention(8, 1024),))
  for stage, before in stages_of(model, filled, 700):
    slots = stage.carry[0].keys.shape[-1]
    assert before < slots <= max(generation_lib.SMALLEST, 2 * before)
    assert slots == stage.model.mixers[0].context


def test_a_layer_of_learned_positions_leaves_the_others_their_stages():
  """It keeps its table, and with it its carry."""
  learned = Attention(8, 256, positions='learned')
  model = SequenceModel(TOKENS, TOKENS, (learned, Attention(8, 256)))
  contexts = [
    [mixer.context for mixer in stage.model.mixers]
    for stage, _ in stages_of(model, 0, 256)
  ]
  assert contexts == [[256, 32], [256, 64], [256, 128], [256, 256]]


@pytest.mark.parametrize(
  'encoder, filled', [(Bidirectional(8), 0), (Attention(8, 4096), 1000)]
)
def test_a_source_fills_the_slots_of_a_decoder_that_goes_on_from_it(
  encoder, filled
):
  """And no others: what reads it as a memory begins with the fewest slots."""
  model = Seq2Seq(TOKENS, TOKENS, (encoder,), (Attention(8, 4096),), 'dot')
  prompt = prompt_lib.make(
    model, jnp.ones((1, 1), int), None, jnp.ones((1, 1000), int), None
  )
  assert prompt_lib.num_read(model, prompt) == filled


def test_each_stage_is_one_compiled_loop():
  """Counted in the traced program."""
  model = SequenceModel(TOKENS, TOKENS, (Attention(8, 128),))
  prompt = jnp.zeros((1, 1), jnp.int32)
  variables = random_variables(model, prompt)
  jaxpr = jax.make_jaxpr(
    lambda prompt: generate(model, variables, KEY, prompt, 120)
  )(prompt)
  assert str(jaxpr).count('= while[') == 3  # 32, 64 and 128 slots


@pytest.mark.parametrize('name', MIXERS)
def test_a_shorter_context_is_the_beginning_of_a_longer_one(name):
  """What has been read with one goes on with the other, if carries differ."""
  mixer = MIXERS[name](8, 32)
  short = generation_lib.shortened(mixer, 8)
  carry, longer = jax.jit(
    lambda: tuple(m.initialize_carry(2) for m in (short, mixer))
  )()
  shapes = jax.tree.map(jnp.shape, (carry, longer))
  if shapes[0] == shapes[1]:
    grown = generation_lib.grow(carry, longer)
    jax.tree.map(np.testing.assert_array_equal, grown, longer)
    return
  x = jax.random.normal(KEY, (2, 8, 8))
  variables = random_variables(mixer, x)

  @jax.jit
  def both(variables, x):
    carry, y = short.apply(
      variables, short.initialize_carry(2), x, method='unroll'
    )
    grown = generation_lib.grow(carry, longer)
    return (grown, y), mixer.apply(variables, longer, x, method='unroll')

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    *both(variables, x),
  )


def test_learned_positions_keep_their_table_and_end_with_it():
  """One stage; what comes after the table is no token."""
  attention = Attention(8, 40, positions='learned')
  model = SequenceModel(TOKENS, TOKENS, (attention,))
  prompt = jnp.ones((1, 2), jnp.int32)
  variables = random_variables(model, prompt)
  tokens = generate(model, variables, KEY, prompt, 45)
  assert np.all(tokens[0, :39] >= 0)
  np.testing.assert_array_equal(tokens[0, 39:], NO_TOKEN)


def test_a_row_ends_where_its_logits_are_no_numbers():
  """After a token whose embedding is none; it reads nothing more."""
  model = SequenceModel(TOKENS, TOKENS, (Elman(8),))
  prompt = jnp.array([[1], [2], [3], [4]])
  variables = random_variables(model, prompt)
  free = np.asarray(generate(model, variables, KEY, prompt, 40))
  embedding = variables['params']['embedding']
  embedding['embedding'] = embedding['embedding'].at[5].set(jnp.nan)
  tokens = generate(model, variables, KEY, prompt, 40, pad_token=6)
  last = [int(np.argmax(row == 5)) for row in free]
  assert np.all(free[np.arange(4), last] == 5) and len(set(last)) > 1
  for row, end in enumerate(last):
    np.testing.assert_array_equal(tokens[row, : end + 1], free[row, : end + 1])
    np.testing.assert_array_equal(tokens[row, end + 1 :], NO_TOKEN)


class Traced(Elman):
  """Counts how often a prompt of it is traced."""

  def unroll(self, carry, x, segments=None):
    TRACED.append(x.shape)
    return super().unroll(carry, x, segments)


TRACED = []


def test_one_compiled_program_serves_prompts_of_all_lengths_up_to_a_bound():
  """With the tokens of prompts that are not padded, a mask or lengths given."""
  model = SequenceModel(TOKENS, TOKENS, (Traced(8), Attention(8, 64)))
  rng = np.random.default_rng(0)
  variables = random_variables(model, jnp.ones((1, 1), jnp.int32))

  def both(length, **options):
    """Tokens after a padded prompt, and what gives them without padding."""
    prompt = rng.integers(7, size=(2, length))
    call = functools.partial(
      generate, model, variables, KEY, prompt, 4, **options
    )
    return np.asarray(call(longest_prompt=6)), call

  pairs = [both(4)]
  once = len(TRACED)
  pairs += [both(1), both(6)]
  pairs.append(both(4, prompt_lengths=np.array([2, 4])))
  mask = np.array([[False, True, False, True], [True] * 4])
  pairs.append(both(4, prompt_valid=mask))
  assert once > 0 and len(TRACED) == once
  for padded, plain in pairs:
    np.testing.assert_array_equal(padded, plain())


class Counted(Elman):
  """Says how often it was stepped."""

  def step(self, carry, x_t):
    jax.debug.callback(lambda: STEPS.append(1))
    return super().step(carry, x_t)


STEPS = []


def test_rows_stop_and_the_loop_ends_with_the_last():
  """A row pads after its stop token; no step is taken when all have stopped."""
  model = SequenceModel(TOKENS, TOKENS, (Counted(8),))
  prompt = jnp.array([[1], [2], [3], [4]])
  variables = random_variables(model, prompt)
  free = np.asarray(generate(model, variables, KEY, prompt, 40))
  STEPS.clear()
  stopped = generate(
    model, variables, KEY, prompt, 40, stop_token=5, pad_token=6
  )
  jax.block_until_ready(stopped)
  jax.effects_barrier()
  first = [int(np.argmax(row == 5)) for row in free]
  assert np.all(free[np.arange(4), first] == 5)
  for row, end in enumerate(first):
    np.testing.assert_array_equal(stopped[row, : end + 1], free[row, : end + 1])
    np.testing.assert_array_equal(stopped[row, end + 1 :], 6)
  assert len(set(first)) > 1 and len(STEPS) == max(first) + 1 < 40


def test_what_a_row_draws_depends_on_neither_padding_nor_neighbours():
  """The same key, row and prompt: the same tokens."""
  model = SequenceModel(TOKENS, TOKENS, (Elman(8),))
  prompt = jnp.array([[1, 2, 3], [4, 5, 6]])
  variables = random_variables(model, prompt)
  given = generate(
    model, variables, KEY, prompt, 9, prompt_lengths=jnp.array([3, 2])
  )
  other = generate(model, variables, KEY, prompt.at[0].set(6)[:, :2], 9)
  np.testing.assert_array_equal(given[1], other[1])
  nucleus = generate(model, variables, KEY, prompt, 9, top_k=3, top_p=0.01)
  greedy = generate(model, variables, KEY, prompt, 9, temperature=0.0)
  np.testing.assert_array_equal(nucleus, greedy)


def test_a_rollout_reads_its_own_outputs():
  """Those of whole sequences, through all stages, at any length of prefix."""
  model = SequenceModel(VALUES, VALUES, (Attention(8, 40),), expansion=0)
  x = jax.random.normal(KEY, (2, 4, 2))
  lengths = np.array([4, 2])
  variables = random_variables(model, x)
  given = rollout(model, variables, x, 45, prefix_lengths=jnp.asarray(lengths))
  outputs = jax.jit(lambda x, segments: model.apply(variables, x, segments))
  series = np.zeros((2, 49, 2), np.float32)
  series[0, :4], series[1, :2] = x[0], x[1, :2]
  every = np.arange(2)
  for t in range(45):
    segments = segments_lib.from_lengths(jnp.asarray(lengths + t), 49)
    y = outputs(jnp.asarray(series), segments)[every, lengths + t - 1]
    np.testing.assert_allclose(given[:, t], y, rtol=1e-3, atol=1e-4)
    series[every, lengths + t] = y


def test_gradients_go_through_a_rollout():
  """Back to every parameter and to the prefix, against finite differences."""
  model = SequenceModel(VALUES, VALUES, (Elman(8),), expansion=0)
  x = jax.random.normal(KEY, (1, 2, 2))
  variables = random_variables(model, x)

  @jax.jit
  def last(variables, x):
    return jnp.sum(rollout(model, variables, x, 5)[:, -1])

  gradients = jax.jit(jax.grad(last, argnums=(0, 1)))(variables, x)
  assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradients))
  ahead, behind = (last(variables, x.at[0, 0, 0].add(e)) for e in (1e-2, -1e-2))
  np.testing.assert_allclose(
    gradients[1][0, 0, 0], (ahead - behind) / 2e-2, rtol=2e-2
  )


@pytest.mark.parametrize('name', MIXERS)
def test_every_causal_mixer_goes_on(name):
  """With tokens; with values, after a source, too."""
  mixer = MIXERS[name](8, 16)
  model = SequenceModel(TOKENS, TOKENS, (mixer,))
  prompt = jax.ShapeDtypeStruct((2, 3), jnp.int32)
  variables = jax.eval_shape(model.init, KEY, prompt)
  y = jax.eval_shape(
    lambda *args: generate(model, *args, 5), variables, KEY, prompt
  )
  assert (y.shape, y.dtype) == ((2, 5), jnp.int32)
  model = Seq2Seq(TOKENS, VALUES, (mixer,), (mixer,))
  prefix = jax.ShapeDtypeStruct((2, 1, 2), jnp.float32)
  variables = jax.eval_shape(model.init, KEY, (prompt, prefix))
  y = jax.eval_shape(
    lambda variables, prefix, source: rollout(
      model, variables, prefix, 5, source=source
    ),
    variables,
    prefix,
    prompt,
  )
  assert (y.shape, y.dtype) == ((2, 5, 2), jnp.float32)


@pytest.mark.parametrize(
  'options, sentence',
  [
    ({'temperature': -1.0}, 'temperature is 0'),
    ({'temperature': np.float32(np.nan)}, 'temperature is 0.*nan'),
    ({'temperature': np.inf}, 'temperature is 0.*inf'),
    ({'top_k': 0}, 'at least 1 token'),
    ({'top_k': 2.5}, 'a whole number, but 2.5'),
    ({'top_p': 1.5}, 'top_p is a probability'),
    ({'top_p': np.float32(np.nan)}, 'top_p is a probability'),
    ({'stop_token': 7}, r'one of the tokens 0\.\.6, but 7'),
    ({'prompt_lengths': np.array([0])}, r'1 numbers in 1..2.*\[0\]'),
    ({'longest_prompt': 1}, 'longest_prompt=1 was given with 2'),
    ({'longest_prompt': 2.5}, 'a whole number.*longest_prompt=2.5'),
    (
      {'longest_prompt': 9, 'prompt_lengths': np.array([3])},
      r'1 numbers in 1..2.*\[3\]',
    ),
    ({'source': np.zeros((1, 2))}, 'SequenceModel takes no source='),
  ],
)
def test_bad_options_get_a_sentence(options, sentence, untyped):
  """Before anything is compiled."""
  model = SequenceModel(TOKENS, TOKENS, (GRU(8),))
  prompt = jnp.zeros((1, 2), jnp.int32)
  with pytest.raises(ValueError, match=sentence):
    generate(model, {}, KEY, prompt, 5, **options)


def test_models_that_cannot_go_on_say_why():
  """No carry, no vocabulary, outputs that are no inputs, nothing to read."""
  prompt = jnp.zeros((1, 2), jnp.int32)
  values = jnp.zeros((1, 2, 2))
  both = SequenceModel(TOKENS, TOKENS, (Bidirectional(8),))
  with pytest.raises(ValueError, match='Bidirectional sees whole sequences'):
    generate(both, {}, KEY, prompt, 5)
  regression = SequenceModel(TOKENS, VALUES, (GRU(8),))
  with pytest.raises(ValueError, match='use rollout'):
    generate(regression, {}, KEY, prompt, 5)
  with pytest.raises(ValueError, match='values of one shape'):
    rollout(regression, {}, values, 5)
  series = SequenceModel(VALUES, VALUES, (GRU(8),))
  with pytest.raises(ValueError, match='one position or more'):
    rollout(series, {}, values[:, :0], 5)
  with pytest.raises(ValueError, match='At least 1 step'):
    rollout(series, {}, values, 0)
  translator = Seq2Seq(TOKENS, TOKENS, (LSTM(8),), (LSTM(8),))
  with pytest.raises(ValueError, match='Seq2Seq needs a source='):
    generate(translator, {}, KEY, prompt, 5)


@pytest.mark.parametrize(
  'model',
  [
    Classifier(TOKENS, TOKENS, (GRU(8),)),
    MLPClassifier(TOKENS, 7, 2),
    Stack((GRU(8),)),
    GRU(8),
  ],
)
def test_what_reads_no_outputs_of_its_own_says_what_does(model):
  """Answers for whole sequences, and features."""
  name = type(model).__name__
  sentence = f'{name} cannot go on.*SequenceModel or a Seq2Seq'
  with pytest.raises(ValueError, match=sentence):
    generate(model, {}, KEY, jnp.zeros((1, 2), jnp.int32), 5)
  with pytest.raises(ValueError, match=sentence):
    rollout(model, {}, jnp.zeros((1, 2, 8)), 5)


@pytest.mark.parametrize('read', [Spec((), 5), VALUES])
def test_a_model_reads_the_tokens_that_it_writes(read):
  """None beyond its table, and no values; a Seq2Seq reads its target."""
  model = SequenceModel(read, TOKENS, (GRU(8),))
  prompt = jnp.zeros((1, 2), jnp.int32)
  with pytest.raises(ValueError, match='reads the tokens that it writes'):
    generate(model, {}, KEY, prompt, 5)
  both = Seq2Seq(read, TOKENS, (GRU(8),), (GRU(8),))
  with pytest.raises(ValueError, match='Seq2Seq needs a source='):
    generate(both, {}, KEY, prompt, 5)


@pytest.mark.parametrize(
  'prompt, sentence',
  [
    (np.array([[1, 7], [-1, 0]]), r'are 0\.\.6, but.*given: \[-1, 7\]'),
    (np.array([1, 2]), r'given as \[B T\].*\[2\]'),
    (np.zeros((1, 2, 3), int), r'given as \[B T\].*\[1, 2, 3\]'),
    (np.zeros((1, 2)), 'are integers, but.*float64'),
  ],
)
def test_prompts_are_rows_of_the_vocabulary(prompt, sentence, untyped):
  """What stands after their lengths may be anything."""
  model = SequenceModel(TOKENS, TOKENS, (GRU(8),))
  with pytest.raises(ValueError, match=sentence):
    generate(model, {}, KEY, prompt, 5)
  lengths = np.array([1, 2])
  beyond = np.array([[1, 7], [2, 0]])
  prompt_lib.make(model, beyond, lengths, None, None)


def test_what_a_rollout_goes_on_from_has_the_shape_of_an_input(untyped):
  """A row alone, or values of another shape, have not."""
  model = SequenceModel(VALUES, VALUES, (GRU(8),))
  for shape in ((2,), (5, 2), (1, 5, 3)):
    with pytest.raises(ValueError, match=r'values of shape \[B T 2\]'):
      rollout(model, {}, jnp.zeros(shape), 5)
