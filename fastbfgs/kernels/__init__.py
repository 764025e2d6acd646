"""The mathematics of one member, compiled."""
