"""Models: cards, labels, inputs, identity and weights."""
