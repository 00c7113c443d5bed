"""Failure-injection simulations of the peer that ships."""
