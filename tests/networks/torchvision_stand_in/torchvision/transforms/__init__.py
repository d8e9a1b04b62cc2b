"""A transform that is a key in timm's tables."""


class ToTensor: ...
