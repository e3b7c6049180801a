"""The public `Model`: `opened` has it and `load`, its sides are the other files."""
