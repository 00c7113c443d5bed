"""``pair simulate``: reaches the command line through the entry-point group ``pair.commands``."""
