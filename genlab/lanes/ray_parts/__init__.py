"""All names of Ray that are not its interface: what each is for, and what is done where it is not there.

Each function is a part that can be had alone. Where a later Ray has another name for what a part needs, it falls back
on what Ray documents, as its paragraph "Otherwise" says. So a sweep needs none of these names; but that they mean in a
later Ray what they meant in 2.60 was not tried.

`start` is of a Ray, `train` of the run of a lane, `tune` of the sweep's trials, and `names` looks for names.
"""
