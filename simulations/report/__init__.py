"""Pictures of a run: one self-contained page, and the same plots as single files."""
