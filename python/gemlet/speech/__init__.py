"""Speech to text: sound on a tape, heard in windows by Whisper or by a Gemma that hears, as segments with times.

Reads no model files: what hears is handed in.
"""
