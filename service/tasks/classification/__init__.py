"""Classification: classes, embeddings and explanations of whole images."""
