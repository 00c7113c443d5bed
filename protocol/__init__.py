"""What peers say and how they decide. Pure: no I/O, no clock, no entropy of its own."""
