"""The models on this machine: which file a name stands for, and what lies in the caches. Never connects; `hub` does.

`names` reads a name, `caches` lists what is there, `sources` finds what `load` is given, `removal` takes it out again,
`demo` is the model of the extra of that name.
"""
