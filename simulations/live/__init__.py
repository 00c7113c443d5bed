"""The same scenarios on real processes: started, killed, frozen and cut off, and asked over HTTP like any network."""
