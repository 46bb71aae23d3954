"""All names of Ray that are not its interface: what each is for, and what is done where it is not there.

Each function is a part that can be had alone. Where a later Ray has another name for what it needs, the part falls back
on what Ray documents, which costs the seconds or the memory that are named beside it, and nothing else: the bound on
Ray's version is no wider than what was tried, not what must hold. `start` is of a Ray, `train` of the run of a lane,
`tune` of the sweep's trials, and `names` looks for names.
"""
