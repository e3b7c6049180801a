"""`gemlet pull`: the one part that connects. What it fetches lies in the hub's cache, where `local` finds it.

`pull` decides which files are wanted, `transfer` fetches one of them.
"""
