"""ResNeSt image classification and segmentation over HTTP."""

__version__ = "0.1.0"
