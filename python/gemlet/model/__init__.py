"""The public `Model`: `opened` is a model with its file, and each other side of it stands on that.

`generating`, `chatting`, `sessions` answer, `questions` looks inside with the arithmetic of `measures`, `seeing` and
`explaining` are about images, `listening` about sound, `mapping` about many rows; `model` joins them and has `load`.
"""
