"""What is drawn from a model's outputs: heat maps, instance masks, and overlays with boxes."""
