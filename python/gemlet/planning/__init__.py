"""`gemlet.plan`: before a model is loaded, what of it fits, and how fast it will be. Opens headers only, never weights.

`sizes` is the family's table, `mixes` the block types of a quantisation, `headers` reads sizes from a file, `estimates`
is the arithmetic, `subjects` says what a plan is for, `plan` answers.
"""
