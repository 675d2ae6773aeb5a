"""seqjax: sequence models in JAX and Flax under one protocol.

`seqjax.ops` has the formulas, `seqjax.nn` the layers, `seqjax.models` whole
networks, `seqjax.tasks` questions with known answers, `seqjax.training` the
loop, `seqjax.analysis` the measurements, `seqjax.results` what is kept of them.
"""
