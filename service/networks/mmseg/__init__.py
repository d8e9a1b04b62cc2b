"""The segmentation heads of OpenMMLab's MMSegmentation, with its names and its defaults."""
