"""The page at `/` where you try the models with your own images, its files, and the icon of all pages."""
