"""What people really have: checkpoints, data sets and text files, each kind with its right answer."""
