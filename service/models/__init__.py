"""Models: cards, labels, input specifications, identity and weights."""
