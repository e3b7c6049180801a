"""One generation, from the engine's start to the answer put together, and what the answer must look like.

`stream` runs it, `grammar` holds it to a constraint, `schemas` are Python types as JSON schema and back.
"""
