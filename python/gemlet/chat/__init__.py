"""Conversations: messages and tools in, the prompt's ids, and the answer's ids back to text, thinking and calls.

`messages` and `tools` check what comes in, `gemma3`, `gemma4` and `template` write it out, `pieces` makes ids of that,
`parser` and `calls` read the answer, `format` chooses for a model, `stream` and `awaiting` run, `result` is what comes
back, `methods` is what `Model` shows.
"""
