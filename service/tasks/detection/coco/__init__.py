"""Average precision as COCO defines it, and the overlaps that it needs."""
