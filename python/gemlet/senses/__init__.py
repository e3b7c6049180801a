"""What a model sees and hears, as soft tokens. Sources are read by `media`, the work is done in C++.

`vision` is for pictures and films, `hearing` for sounds, `towers` is both as `soft` wants them for prompts.
"""
