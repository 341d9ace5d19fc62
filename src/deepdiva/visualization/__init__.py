"""Numbers in, picture out: no torch, no random state, and matplotlib only where a run ends."""
